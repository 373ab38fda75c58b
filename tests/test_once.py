"""Blocks that are traced once: what each computes is its own."""

import keras
import numpy as np
import tensorflow as tf

from kerasft import lean, once, surgery
from kerasft.model import FineTunedModel
from kerasft.taps import tap
from kerasft.tasks.text_classification import TextClassification

X = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A Dense layer and dropout; counts how often it is traced."""

    traces = 0

    def __init__(self, rate=0.0):
        super().__init__()
        self.dense = keras.layers.Dense(8)
        self.dropout = keras.layers.Dropout(rate)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, training=None):
        return once.call(self, self.compute, x) if training else self.compute(x)

    def compute(self, x):
        Block.traces += 1
        return self.dropout(self.dense(x), training=surgery.is_training(self))


def built(number, rate=0.0):
    Block.traces = 0
    blocks = [Block(rate) for _ in range(number)]
    for block in blocks:
        block.build(X.shape)
    return blocks


def computed(blocks):
    """Returns the outputs of each block and the gradients of what learns."""
    x, outputs = tf.constant(X), []
    with tf.GradientTape() as tape:
        for block in blocks:
            x = block(x, training=True)
            outputs.append(x)
        loss = tf.reduce_sum(tf.sin(x))
    learned = [variable.value for block in blocks for variable in block.trainable_variables]
    return [*outputs, *tape.gradient(loss, learned)]


def test_alike_blocks_are_traced_once_and_compute_with_their_own_weights():
    blocks = built(3)
    eager = computed(blocks)
    assert Block.traces == 3
    graph = tf.function(computed)(blocks)
    assert Block.traces == 4
    for ours, theirs in zip(graph, eager, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_blocks_of_which_other_weights_learn_are_traced_apart():
    blocks = built(3)
    blocks[0].dense.trainable = False
    graph = tf.function(computed)(blocks)
    assert Block.traces == 2
    assert len(graph) == 3 + 2 * 2


def test_blocks_of_other_settings_are_traced_apart():
    blocks = [*built(1), *built(2, rate=0.5)]
    outputs = tf.function(lambda: [block(tf.ones((4, 8)), training=True) for block in blocks])()
    assert Block.traces == 2
    assert [bool(tf.reduce_any(output == 0)) for output in outputs] == [False, True, True]


def test_each_block_drops_its_own_share_anew():
    blocks = built(2, rate=0.5)
    step = tf.function(lambda: [block(tf.ones((4, 8)), training=True) == 0 for block in blocks])
    assert Block.traces == 0
    dropped = [mask.numpy() for mask in (*step(), *step())]
    assert Block.traces == 1
    assert all(0 < mask.mean() < 1 for mask in dropped)
    assert len({mask.tobytes() for mask in dropped}) == 4


def test_a_lower_precision_reads_weights_as_they_are():
    blocks = built(2)
    for layer in (layer for block in blocks for layer in (block, block.dense, block.dropout)):
        layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    for ours, theirs in zip(tf.function(computed)(blocks), computed(blocks), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), rtol=2e-2, atol=1e-2)


def test_the_backward_pass_drops_what_the_forward_pass_did():
    (block,) = built(1, rate=0.5)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs = block(tf.constant(X), training=True)
            loss = tf.reduce_sum(outputs)
        return outputs, tape.gradient(loss, block.dense.bias.value)

    outputs, gradient = step()
    np.testing.assert_allclose(gradient, 2.0 * np.count_nonzero(outputs, axis=0))
    assert 0 < np.count_nonzero(outputs) < outputs.shape.num_elements()


INPUTS = {
    "token_ids": np.random.default_rng(0).integers(5, 40, (3, 9)),
    "segment_ids": np.zeros((3, 9), int),
    "padding_mask": np.array([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7]),
}


def classifier(make_tiny, dropout=0.0):
    pretrained = make_tiny("bert", dropout=dropout)
    task = TextClassification(labels=["a", "b"], pooling="first", dropout=0.0)
    return FineTunedModel(pretrained.backbone, task.head(pretrained))


def traces_of(model):
    """Returns a list that grows by a name whenever a block is traced."""
    found = []
    for block in (model.get_layer(f"transformer_layer_{number}") for number in range(2)):

        def traced(*args, own=block.call, name=block.name, **kwargs):
            found.append(name)
            return own(*args, **kwargs)

        block.call = traced
    return found


def loss_and_gradients(model):
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(INPUTS, training=True)))
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        return [loss, *(tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None)]

    return step()


def test_blocks_of_an_encoder_compute_the_same(make_tiny):
    model = classifier(make_tiny)
    plain = loss_and_gradients(model)
    traces = traces_of(model)
    once.share_traces(model)
    once.share_traces(model)  # As with a second model of the same backbone.
    for ours, theirs in zip(loss_and_gradients(model), plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert traces == ["transformer_layer_0"]


def test_a_block_of_which_one_token_is_read_is_traced_on_its_own(make_tiny):
    model = classifier(make_tiny)
    lean.skip_unread_tokens(model)
    plain = loss_and_gradients(model)
    traces = traces_of(model)
    once.share_traces(model)
    for ours, theirs in zip(loss_and_gradients(model), plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert traces == ["transformer_layer_0", "transformer_layer_1"]


def test_blocks_that_are_seen_into_or_do_not_learn_are_traced_each(make_tiny):
    model = classifier(make_tiny)
    traces = traces_of(model)
    once.share_traces(model)
    tf.function(lambda: model(INPUTS, training=False))()
    assert len(traces) == 2
    tap(model.get_layer("transformer_layer_0"))
    tap(model.get_layer("transformer_layer_1"))
    loss_and_gradients(model)
    assert len(traces) == 4
