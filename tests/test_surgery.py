import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import surgery, weights
from kerasft.model import FineTunedModel
from kerasft.optimizers import AdamW
from kerasft.tasks._head import PooledHead
from tests import families


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def test_all_layers_goes_into_layers(model):
    names = [layer.name for layer in surgery.all_layers(model)]
    assert "query" in names
    assert "query" not in [layer.name for layer in model.layers]


def test_set_dtype_policy_reaches_every_layer_but_embeddings_and_the_head(model):
    model.compile(loss="mse")
    model.make_train_function()
    surgery.set_dtype_policy(model, "mixed_bfloat16")
    head = {id(layer) for layer in (model.head, *surgery.all_layers(model.head))}
    for layer in surgery.all_layers(model):
        is_wide = id(layer) in head or isinstance(layer, keras.layers.Embedding)
        assert layer.dtype_policy.name == ("float32" if is_wide else "mixed_bfloat16"), layer.path
    assert model.train_function is None
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    inputs = {name: np.ones((2, 4), "int32") for name in model.input}
    assert model(inputs).dtype == tf.float32
    surgery.set_dtype_policy(model, "float32")
    assert {layer.compute_dtype for layer in surgery.all_layers(model)} == {"float32"}


@pytest.mark.parametrize("family", families.quick_ones(families.FAMILIES, "roberta", "opt"))
def test_every_family_computes_in_half_precision(family):
    pretrained = families.make(family)
    masked = ("tokens", "mask")
    model = FineTunedModel(pretrained.backbone, PooledHead(2, masked, "last" if pretrained.causal else "mean"))
    surgery.set_dtype_policy(model, "mixed_bfloat16")
    inputs = {name: np.ones((2, 4), "int32") for name in model.input}
    kinds = (keras.layers.Dense, keras.layers.EinsumDense)
    dtypes = {layer.compute_dtype for layer in weights.layers_below_head(model) if isinstance(layer, kinds)}
    assert dtypes == {"bfloat16"}
    assert np.isfinite(model(inputs)).all()


def test_set_direction():
    callback = keras.callbacks.EarlyStopping(monitor="own", mode="auto")
    model = keras.Sequential([keras.layers.Dense(1)])
    callback.set_model(model)
    metric = keras.metrics.MeanMetricWrapper(lambda y, y_pred: y_pred, name="own")
    model.compile(loss="mse", metrics=[metric])
    model.fit(np.zeros((2, 1)), np.zeros((2, 1)), verbose=0)
    callback.on_train_begin()
    with pytest.raises(ValueError, match="EarlyStopping callback received monitor=own"):
        callback.on_epoch_end(0, {"own": 1.0})
    surgery.set_direction(metric, "up")
    callback.on_epoch_end(0, {"own": 1.0})


def test_adam_slots_are_those_of_the_variable():
    first, second = keras.Variable(np.zeros(2)), keras.Variable(np.zeros(3))
    optimizer = AdamW()
    optimizer.build([first, second])
    optimizer.apply([tf.zeros(2), tf.ones(3)])
    momentum, velocity = surgery.adam_slots(optimizer, second)
    np.testing.assert_allclose(momentum, 0.1 / 3**0.5, rtol=1e-6)  # The gradient is clipped to norm 1.
    np.testing.assert_allclose(velocity, 0.001 / 3, rtol=1e-4)
    assert not surgery.adam_slots(optimizer, first)[0].numpy().any()


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "Adafactor", "RMSprop"])
def test_a_weight_that_joins_later_moves_as_under_a_new_optimizer(name):
    """Of Keras's own: Adam would take its young moments for old ones, and make its first steps 3 times as long."""
    later, new = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    for variable, before in ((later, 100), (new, 0)):
        optimizer = surgery.with_rates(getattr(keras.optimizers, name)(0.1), {id(variable): 1.0})
        optimizer.build([variable])
        optimizer.iterations.assign(before)
        optimizer.joined = {id(variable): before}
        for step in range(3):
            optimizer.apply([tf.constant([1.0 + step, 0.5])])
        assert int(optimizer.iterations) == before + 3
    np.testing.assert_allclose(later.numpy(), new.numpy(), rtol=1e-6)


@pytest.mark.slow
def test_forgotten_gradients_frees_the_weights_that_a_graph_reads():
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    def trace():
        weights = [tf.Variable(tf.ones(3)) for _ in range(5)]
        assert tf.function(lambda x: doubled(x + sum(weights)))(tf.ones(3)).numpy().tolist() == [12, 12, 12]

    def handles():
        gc.collect()
        tensors = (found for found in gc.get_objects() if issubclass(type(found), tf.Tensor))
        return sum(tensor.dtype == tf.resource for tensor in tensors)

    before = handles()
    with surgery.forgotten_gradients():
        trace()
    assert handles() == before
    trace()
    assert handles() > before, "TensorFlow frees them itself now: forgotten_gradients can go"
