import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import surgery
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.objectives import L2SP
from kerasft.tasks._head import PooledHead
from tests import families

INPUTS = {
    "token_ids": np.arange(5, 45).reshape(8, 5),
    "segment_ids": np.zeros((8, 5), "int32"),
    "padding_mask": np.ones((8, 5), "int32"),
}
TARGETS = np.array([0, 1] * 4)


@pytest.fixture
def make(tiny_bert):
    """A function that returns a model with these objectives attached."""

    def build(*objectives):
        model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask"), dropout=0.0), objectives)
        for objective in objectives:
            objective.attach(model)
        return model

    return build


def fit(model, optimizer, steps=1):
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    inputs = {name: np.tile(values, (steps, 1)) for name, values in INPUTS.items()}
    return model.fit(inputs, np.tile(TARGETS, steps), batch_size=8, verbose=0)


def parts(model):
    """Returns the trainable arrays of the backbone and of the head."""
    head = [weight.numpy() for weight in model.head.trainable_weights]
    own = {weight.path for weight in model.head.weights}
    return [weight.numpy() for weight in model.trainable_weights if weight.path not in own], head


def squared_norm(arrays):
    return sum((array.astype("float64") ** 2).sum() for array in arrays)


def moved(before, after):
    return squared_norm([a - b for a, b in zip(after, before, strict=True)]) ** 0.5


def test_it_is_zero_for_the_backbone_at_the_start(make):
    objective = L2SP(alpha=1e6, beta=0.0)
    assert float(objective(make(objective), INPUTS, TARGETS, None)) == 0.0


def test_value_and_gradient_are_those_of_the_formula(make):
    alpha, beta = 0.3, 0.7
    objective = L2SP(alpha, beta)
    model = make(objective)
    before, _ = parts(model)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight.numpy() + random.normal(0, 0.1, weight.shape))
    after, head = parts(model)
    with tf.GradientTape() as tape:
        value = objective(model, INPUTS, TARGETS, None)
    gradients = [g.numpy() for g in tape.gradient(value, [w.value for w in model.trainable_weights])]
    distance = [a - b for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(value, alpha / 2 * squared_norm(distance) + beta / 2 * squared_norm(head), rtol=1e-5)
    expected = [alpha * d for d in distance] + [beta * h for h in head]
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)


def test_frozen_weights_do_not_count(make):
    objective = L2SP(alpha=1.0, beta=1.0)
    model = make()
    for layer in model.layers:
        layer.trainable = False
    objective.attach(model)
    assert objective.starts.values == {}
    assert float(objective(model, INPUTS, TARGETS, None)) == 0.0


def test_weights_that_learn_in_a_later_stage_start_there(make):
    objective = L2SP(alpha=1.0, beta=0.0)
    model = make()
    for layer in model.layers:
        layer.trainable = layer is model.head
    objective.attach(model)
    for layer in model.layers:
        layer.trainable = True
    objective.attach(model)
    backbone, _ = parts(model)
    assert len(objective.starts.values) == len(backbone)
    assert float(objective(model, INPUTS, TARGETS, None)) == 0.0


def test_weights_of_one_path_each_start_where_they_were():
    objective = L2SP(alpha=1.0, beta=0.0)
    backbone = families.make("smollm3").backbone
    model = FineTunedModel(backbone, PooledHead(2, ("tokens", "mask"), "last"), [objective])
    objective.attach(model)
    backbone, _ = parts(model)
    assert len(objective.starts.values) == len(backbone)
    assert float(objective(model, INPUTS, TARGETS, None)) == 0.0


def test_a_second_fit_keeps_the_first_start(make):
    objective = L2SP(alpha=2.0, beta=0.0)
    model = make(objective)
    before, _ = parts(model)
    fit(model, keras.optimizers.SGD(0.1))
    objective.attach(model)
    after, _ = parts(model)
    np.testing.assert_allclose(objective(model, INPUTS, TARGETS, None), moved(before, after) ** 2, rtol=1e-4)


def test_a_strong_pull_keeps_the_weights_in_place(make):
    distances = {}
    for alpha in (0.0, 500.0):
        model = make(L2SP(alpha, beta=0.0))
        start = model.get_weights()
        before, _ = parts(model)
        fit(model, keras.optimizers.SGD(2e-3, momentum=0.9), steps=20)
        after, _ = parts(model)
        distances[alpha] = moved(before, after)
        model.set_weights(start)
    assert distances[500.0] < distances[0.0] / 20


def test_beta_shrinks_the_head(make):
    model = make(L2SP(alpha=0.0, beta=100.0))
    model.head.logits.kernel.assign(np.ones((16, 2)))
    fit(model, keras.optimizers.SGD(5e-3), steps=20)
    _, (kernel, _) = parts(model)
    np.testing.assert_allclose(kernel, np.zeros((16, 2)), atol=0.05)


def test_in_mixed_bfloat16_it_counts_in_float32(make):
    objective = L2SP(alpha=1.0, beta=0.0)
    model = make(objective)
    surgery.set_dtype_policy(model, "mixed_bfloat16")
    before, _ = parts(model)
    history = fit(model, keras.optimizers.SGD(1e-3), steps=3).history
    after, _ = parts(model)
    assert history["l2_sp"][0] > 0.0
    value = objective(model, INPUTS, TARGETS, None)
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, moved(before, after) ** 2 / 2, rtol=1e-3)  # Steps of bfloat16 are 4e-3.


def test_the_start_is_no_constant_of_the_graph(make):
    objective = L2SP()
    model = make(objective)
    graph = tf.function(lambda: objective(model, None, None, None)).get_concrete_function().graph
    sizes = [op.outputs[0].shape.num_elements() for op in graph.get_operations() if op.type == "Const"]
    assert max(sizes) <= 4  # Axes of the sums.


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_a_strength_below_zero_is_refused(name, value):
    with pytest.raises(UserError, match=rf"l2_sp: {name} must be 0 or more. Received: {name}="):
        L2SP(**{name: value})
