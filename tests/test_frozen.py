import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import frozen, taps
from kerasft.methods import BitFit, Freeze, Full, LinearProbe, LoRA
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

RANDOM = np.random.default_rng(0)
TEXT = {
    "token_ids": RANDOM.integers(5, 40, (3, 9)).astype("int32"),
    "segment_ids": np.zeros((3, 9), "int32"),
    "padding_mask": np.array([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7], "int32"),
}
IMAGES = RANDOM.normal(size=(3, 32, 32, 3)).astype("float32")


def model_of(make_tiny, name, pooling="mean"):
    pretrained = make_tiny(name)
    reads = ("image",) if pretrained.modality == "image" else ("tokens", "mask")
    return FineTunedModel(pretrained.backbone, PooledHead(2, reads, pooling, dropout=0.0))


def inputs_of(model):
    if not isinstance(model.input, dict):
        return IMAGES
    return {name: tf.constant(TEXT[name]) for name in model.input}


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "efficientnet", "vit"])
def test_under_the_head_the_features_are_pooled(make_tiny, name, pooling):
    model = model_of(make_tiny, name, pooling)
    model.choose(LinearProbe().apply)
    x = inputs_of(model)
    above = model.above_frozen(x)
    assert {name: found.shape for name, found in above.items()} == {
        frozen.FEATURES: (3, model.head.logits.kernel.shape[0])
    }
    np.testing.assert_allclose(model(above), model(x), atol=1e-6)


@pytest.mark.parametrize("name", ["bert", "gpt2", "efficientnet"])
def test_below_a_block_that_learns(make_tiny, name):
    model = model_of(make_tiny, name)
    model.choose(Freeze(blocks=1).apply)
    assert (model.frozen.blocks, model.frozen.of_blocks) == (1, 2)
    x = inputs_of(model)
    above = model.above_frozen(x)
    assert set(above) == {frozen.FEATURES, *({"padding_mask"} if isinstance(x, dict) else ())}
    np.testing.assert_allclose(model(above), model(x), atol=1e-6)


def test_gradients_are_those_of_the_whole_model(make_tiny):
    model = model_of(make_tiny, "bert")
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model.choose(Freeze(blocks=1).apply)
    x, found = inputs_of(model), []
    for given in (x, model.above_frozen(x)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(given, training=True)))
        found.append(tape.gradient(loss, [variable.value for variable in model.trainable_variables]))
    for whole, upper in zip(*found, strict=True):
        np.testing.assert_allclose(upper, whole, atol=1e-5)


def test_what_is_frozen_drops_nothing_out_and_the_rest_does(make_tiny):
    model = model_of(make_tiny, "bert")
    model.choose(Full().apply)
    assert model.frozen is None
    x = inputs_of(model)
    with taps.tap(model.get_layer("transformer_layer_0")).reading() as lower:
        model(x, training=False)
        model(x, training=True)
        model.choose(Freeze(blocks=1).apply)
        one, other = model(x, training=True), model(x, training=True)
    still, dropped, *frozen_part = (outputs.numpy() for outputs in lower)
    assert not np.allclose(dropped, still, atol=1e-3)
    for outputs in frozen_part:
        np.testing.assert_allclose(outputs, still, atol=1e-6)
    assert not np.allclose(one, other, atol=1e-4)


def test_statistics_of_frozen_normalisation_stand_still(make_tiny):
    model = model_of(make_tiny, "efficientnet")
    model.choose(Freeze(blocks=1).apply)
    before = {id(v): v.numpy() for v in model.frozen.variables}
    model(IMAGES + 3, training=True)
    assert all(np.array_equal(v.numpy(), before[id(v)]) for v in model.frozen.variables)


@pytest.mark.parametrize("method", [Full(), BitFit(), LoRA(), Freeze(embeddings=True)], ids=lambda m: type(m).__name__)
def test_without_a_frozen_block_there_is_no_frozen_part(make_tiny, method):
    model = model_of(make_tiny, "bert")
    method.attach(model)
    model.choose(method.apply)
    assert model.frozen is None


def test_below_deltas_of_upper_blocks(make_tiny):
    model, method = model_of(make_tiny, "bert"), LoRA(layers="transformer_layer_1/.*query")
    method.attach(model)
    model.choose(method.apply)
    assert model.frozen.last.name == "transformer_layer_0"


def test_the_model_keeps_its_weights_and_nodes(make_tiny):
    model = model_of(make_tiny, "bert")
    before = [weight.path for weight in model.weights], [len(layer._inbound_nodes) for layer in model.layers]
    model.choose(Freeze(blocks=1).apply)
    model(inputs_of(model), training=True)
    assert ([weight.path for weight in model.weights], [len(layer._inbound_nodes) for layer in model.layers]) == before


def test_of_a_model_that_learns_nothing_there_is_none(make_tiny):
    model = model_of(make_tiny, "bert")
    model.trainable = False
    assert frozen.of(model) is None
