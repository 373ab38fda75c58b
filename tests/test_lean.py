"""The same numbers as Keras's own layers, forward and backward."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasft import lean
from kerasft.model import FineTunedModel
from kerasft.taps import tap
from kerasft.tasks.text_classification import TextClassification

X = tf.constant(np.random.default_rng(0).normal(size=(4, 7, 16)) * 3, tf.float32)


def value_and_gradients(function, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
        loss = tf.reduce_sum(tf.sin(value))
    return [value, *tape.gradient(loss, arguments)]


def assert_equal(ours, theirs, *arguments):
    pairs = zip(value_and_gradients(ours, *arguments), value_and_gradients(theirs, *arguments), strict=True)
    for our_value, their_value in pairs:
        np.testing.assert_allclose(our_value, their_value, atol=5e-6)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(approximate):
    ours = lean.approximate_gelu if approximate else lean.exact_gelu
    assert_equal(ours, lambda x: keras.activations.gelu(x, approximate=approximate), X)


def test_silu():
    assert_equal(lean.silu, keras.activations.silu, X)


def test_rms_normalization():
    scale = tf.constant(np.random.default_rng(1).normal(size=16), tf.float32)

    def theirs(x, scale):
        return x * tf.math.rsqrt(tf.reduce_mean(x**2, -1, keepdims=True) + 1e-5) * scale

    assert_equal(lambda x, scale: lean.rms_normalization(x, scale, 1e-5), theirs, X, scale)


def test_rotation():
    layer = keras_hub.layers.RotaryEmbedding()
    model = keras.Sequential([keras.layers.Input((7, 16)), layer])
    before = value_and_gradients(model, X)
    lean.apply(model)
    for ours, theirs in zip(value_and_gradients(model, X), before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)
    assert vars(layer)["_apply_rotary_pos_emb"] is lean.rotate


def test_float64_is_kept():
    x, scale = tf.cast(X, tf.float64) / 3, tf.ones(16, tf.float64)
    reference = keras.layers.LayerNormalization(epsilon=1e-12, dtype="float64")(x)
    np.testing.assert_allclose(lean.layer_normalization(x, scale, 0 * scale, 1e-12), reference, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(lean.exact_gelu(x), 0.5 * x * (1 + tf.math.erf(x / 2**0.5)), rtol=1e-12)


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = tf.ones((500, 401))
    with tf.GradientTape() as tape:
        tape.watch(x)
        dropped = lean.dropout(x, 0.1, tf.constant([1, 2]))
    assert abs(float(tf.reduce_mean(tf.cast(dropped == 0, tf.float32))) - 0.1) < 0.003
    assert np.unique(dropped).tolist() == pytest.approx([0, 1 / 0.9], abs=1e-4)
    np.testing.assert_array_equal(tape.gradient(dropped, x), dropped)
    np.testing.assert_array_equal(lean.dropout(x, 0.1, tf.constant([1, 2])), dropped)
    assert (lean.dropout(x, 0.1, tf.constant([1, 3])).numpy() != dropped.numpy()).any()


def test_a_dropout_layer_drops_in_training_only():
    layer = keras.layers.Dropout(0.5, seed=0)
    model = keras.Sequential([keras.layers.Input((8,)), layer])
    lean.apply(model)
    assert (model(np.ones((4, 8))) == 1).numpy().all()
    first, second = (model(np.ones((4, 8)), training=True).numpy() for _ in range(2))
    assert set(np.unique(first)) == {0.0, 2.0}
    assert (first != second).any()


def test_layer_normalization():
    layer = keras.layers.LayerNormalization(epsilon=1e-12)
    layer.build(X.shape)
    random = np.random.default_rng(1)
    scale, shift = (tf.constant(random.normal(size=16), tf.float32) for _ in range(2))

    def theirs(x, scale, shift):
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-12) * scale + shift

    assert_equal(lambda x, a, b: lean.layer_normalization(x, a, b, 1e-12), theirs, X, scale, shift)


def test_a_whole_model_gives_the_same_outputs_and_gradients(make_tiny):
    inputs = {
        "token_ids": np.random.default_rng(0).integers(5, 40, (3, 9)),
        "segment_ids": np.zeros((3, 9), int),
        "padding_mask": np.ones((3, 9), int),
    }
    backbone = make_tiny("bert", dropout=0.0).backbone
    results = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(backbone(inputs)["sequence_output"]))
        weights = [w for w in backbone.trainable_weights if "pooled" not in w.path]
        gradients = tape.gradient(loss, [w.value for w in weights])
        results.append([loss, *(tf.convert_to_tensor(gradient) for gradient in gradients)])
        lean.apply(backbone)
    for before, after in zip(*results, strict=True):
        np.testing.assert_allclose(after, before, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["first", "pooled"])
@pytest.mark.parametrize("normalize_first", [False, True])
def test_the_last_block_computes_no_token_that_the_head_does_not_read(make_tiny, normalize_first, pooling):
    random = np.random.default_rng(0)
    inputs = {
        "token_ids": random.integers(5, 40, (3, 9)),
        "segment_ids": np.zeros((3, 9), int),
        "padding_mask": np.array([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7]),
    }
    model = first_token_model(make_tiny("bert", dropout=0.0), pooling)
    block = model.get_layer("transformer_layer_1")
    block.normalize_first = normalize_first
    results = []
    for skip in (False, True):
        if skip:
            lean.skip_unread_tokens(model)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(inputs)))
        weights = [w for w in model.trainable_weights if not w.path.endswith("embeddings")]
        results.append([loss, *tape.gradient(loss, [w.value for w in weights])])
    for before, after in zip(*results, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)
    assert model.read_at_first_token is block


def test_a_pooler_that_does_not_read_the_first_token_sees_them_all(make_tiny):
    pretrained = make_tiny("bert")
    model = first_token_model(pretrained, "pooled")
    for operation in model.operations:
        if type(operation).__name__ == "GetItem" and operation.output.shape == (None, 16):
            operation._inbound_nodes[0].arguments.args = (operation.input, (slice(None), 1, slice(None)))
    lean.skip_unread_tokens(model)
    assert model.read_at_first_token is None


def test_a_block_that_others_read_stays_whole(make_tiny):
    model = first_token_model(make_tiny("bert"))
    lean.skip_unread_tokens(model)
    block, arguments = model.get_layer("transformer_layer_1"), (np.ones((3, 9, 16), "float32"), np.ones((3, 9), int))
    assert block(*arguments).shape == (3, 9, 16)  # As a part of some other model.
    with lean.reading_first_token(block):
        assert block(*arguments).shape == (3, 1, 16)
    with tap(block).reading() as seen:
        model({name: np.ones((3, 9), int) for name in ("token_ids", "segment_ids", "padding_mask")})
    assert seen[0].shape == (3, 9, 16)


def first_token_model(pretrained, pooling="first"):
    task = TextClassification(labels=["a", "b"], pooling=pooling)
    return FineTunedModel(pretrained.backbone, task.head(pretrained))


def test_every_token_is_computed_where_it_is_read(make_tiny):
    pretrained = make_tiny("bert")
    model = FineTunedModel(pretrained.backbone, TextClassification(labels=["a", "b"], pooling="mean").head(pretrained))
    lean.skip_unread_tokens(model)
    assert "call" not in vars(model.get_layer("transformer_layer_1"))


def test_other_normalisations_stay_as_they_are():
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.LayerNormalization(center=False)])
    lean.apply(model)
    assert "call" not in vars(model.layers[0])


def test_an_architecture_is_written_as_it_was():
    layers = [keras.layers.Dense(4, activation=name) for name in ("gelu", "silu", "relu")]
    layers.append(
        keras_hub.layers.TransformerEncoder(8, 2, activation=keras_hub.src.utils.keras_utils.gelu_approximate)
    )
    model = keras.Sequential([keras.layers.Input((3, 4)), *layers])
    before = model.get_config()
    lean.apply(model)
    assert layers[0].activation is lean.exact_gelu and layers[3].activation is lean.approximate_gelu
    assert model.get_config() == before
    assert layers[0].activation is lean.exact_gelu
