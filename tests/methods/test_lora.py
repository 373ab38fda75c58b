import keras
import numpy as np
import pytest

from kerasft import deltas, weights
from kerasft.errors import UserError
from kerasft.methods import LoRA
from kerasft.methods.lora import LowRank
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families

RANDOM = np.random.default_rng(0)


def layer_and_inputs(kind):
    """Returns a built layer of this kind, what to give it, and its kernel as a matrix of inputs and outputs."""
    made = {
        "dense": (keras.layers.Dense(5, activation="relu"), (2, 3, 4)),
        "einsum": (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de"), (2, 3, 4)),
        "einsum two inputs": (keras.layers.EinsumDense("abcd,cde->abe", (None, 5), activation="tanh"), (2, 3, 2, 4)),
        "einsum turned": (keras.layers.EinsumDense("bsd,kdh->bskh", (None, 2, 5)), (2, 3, 4)),
        "conv": (keras.layers.Conv2D(5, 3, strides=2, padding="same", activation="relu"), (2, 6, 6, 3)),
        "conv without bias": (keras.layers.Conv1D(5, 2, dilation_rate=2, use_bias=False), (2, 7, 3)),
    }
    if kind == "embedding":
        layer, inputs = keras.layers.Embedding(7, 5), np.array([[0, 6, 2], [3, 3, 1]])
    else:
        layer, shape = made[kind]
        inputs = RANDOM.normal(size=shape).astype("float32")
    layer(inputs)
    for weight in layer.weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    return layer, inputs


KINDS = ("dense", "einsum", "einsum two inputs", "einsum turned", "conv", "conv without bias", "embedding")


def attached(kind, **arguments):
    layer, inputs = layer_and_inputs(kind)
    before = layer(inputs)
    delta = LowRank(3, 0.5, **arguments)
    deltas.attach(layer, delta)
    return layer, delta, inputs, before


def move(delta):
    for weight in (delta.a, delta.b):
        weight.assign(RANDOM.normal(size=weight.shape))


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_as_nothing_and_equals_its_merged_kernel(kind, use_dora):
    layer, delta, inputs, before = attached(kind, use_dora=use_dora)
    np.testing.assert_allclose(layer(inputs), before, atol=1e-5)
    move(delta)
    if use_dora:
        delta.length.assign(delta.length * RANDOM.uniform(0.5, 2, delta.length.shape))
    changed = layer(inputs)
    assert np.abs(changed - before).max() > 0.1
    delta.merge(layer)
    delta.is_on = False
    np.testing.assert_allclose(layer(inputs), changed, atol=2e-5)


def test_a_dense_layer_by_the_formula():
    layer, delta, inputs, _ = attached("dense")
    move(delta)
    kernel = layer.kernel.numpy() + 0.5 * delta.a.numpy() @ delta.b.numpy()
    np.testing.assert_allclose(layer(inputs), np.maximum(inputs @ kernel + layer.bias.numpy(), 0), atol=1e-5)


def test_dora_by_the_formula():
    layer, delta, inputs, _ = attached("dense", use_dora=True)
    move(delta)
    delta.length.assign(RANDOM.uniform(1, 2, 5))
    kernel = layer.kernel.numpy() + 0.5 * delta.a.numpy() @ delta.b.numpy()
    kernel *= delta.length.numpy() / np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(layer(inputs), np.maximum(inputs @ kernel + layer.bias.numpy(), 0), atol=1e-5)


def test_numbers_of_tokens_are_not_dropped():
    layer, delta, inputs, _ = attached("embedding", dropout=0.5)
    move(delta)
    np.testing.assert_array_equal(layer(inputs, training=True), layer(inputs))


def test_dropout_is_of_the_update_alone():
    layer, delta, inputs, before = attached("dense", dropout=0.5)
    np.testing.assert_allclose(layer(inputs, training=True), before, atol=1e-6)
    move(delta)
    assert not np.array_equal(layer(inputs, training=True), layer(inputs, training=True))
    np.testing.assert_array_equal(layer(inputs), layer(inputs))


@pytest.mark.parametrize(("by_root", "expected"), [(False, 4.0), (True, 8.0)])
def test_the_scale(tiny_bert, by_root, expected):
    model = model_of(tiny_bert)
    LoRA(rank=4, alpha=16, scale_by_root=by_root).attach(model)
    assert {delta.scale for _, delta in deltas.of(model)} == {expected}


def model_of(pretrained):
    return FineTunedModel(pretrained.backbone, PooledHead(2, ("tokens", "mask")))


def paths(model):
    return sorted(layer.path for layer, _ in deltas.of(model))


def test_all_dense_layers_by_default(tiny_bert):
    model = model_of(tiny_bert)
    LoRA().attach(model)
    attention = [f"self_attention_layer/{name}" for name in ("attention_output", "key", "query", "value")]
    names = [*(f"feedforward_{name}_dense" for name in ("intermediate", "output")), *attention]
    assert paths(model) == [f"transformer_layer_{i}/{name}" for i in (0, 1) for name in names]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_has_layers_for_it(family):
    model = model_of(families.make(family))
    LoRA().attach(model)
    assert len(paths(model)) >= 2


def test_convolutions_where_there_is_no_attention(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    LoRA().attach(model)
    assert len(paths(model)) > 3 and not any("depthwise" in path for path in paths(model))


def test_the_weights_lie_beside_those_of_the_layer(tiny_bert):
    model = model_of(tiny_bert)
    method = LoRA(layers="layer_1/.*query$")
    method.attach(model)
    method.apply(model)
    own = "transformer_layer_1/self_attention_layer/query/lora"
    assert set(weights.learned(model)) == {f"{own}/a", f"{own}/b", "head/logits/kernel", "head/logits/bias"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 2.5}, "rank=2.5"),
        ({"alpha": 0}, "alpha=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": "0.1"}, "dropout='0.1'"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        LoRA(**arguments)


@pytest.mark.parametrize(
    ("layers", "message"),
    [("nowhere", "No layer path matches"), ("layer_norm", "LayerNormalization"), ("logits|query", "head/logits")],
)
def test_layers_that_cannot_have_it(tiny_bert, layers, message):
    with pytest.raises(UserError, match=message):
        LoRA(layers=layers).attach(model_of(tiny_bert))


def test_a_backbone_without_a_kernel_is_refused():
    """A depthwise convolution has one for each channel, and no low rank."""
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, keras.layers.DepthwiseConv2D(3)(inputs))
    with pytest.raises(UserError, match=r"has none of these layers: Dense, .*Conv3D\. Received: layers=None"):
        LoRA().attach(FineTunedModel(backbone, PooledHead(2, ("image",))))


def test_convolutions_in_groups_are_refused():
    layer = keras.layers.Conv2D(4, 3, groups=2)
    layer(np.zeros((1, 5, 5, 4)))
    with pytest.raises(UserError, match="groups=2"):
        deltas.attach(layer, LowRank(2, 1.0))
