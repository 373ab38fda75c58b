import keras
import numpy as np
import tensorflow as tf

from kerasft.losses.span_cross_entropy import SpanCrossEntropy


def test_it_is_the_mean_of_both_cross_entropies():
    logits = np.random.default_rng(0).normal(size=(4, 7, 2)).astype("float32")
    targets = np.array([[0, 0], [1, 3], [6, 6], [2, 5]])
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rows = np.arange(4)
    expected = -np.log(chances[rows, targets[:, 0], 0] * chances[rows, targets[:, 1], 1]) / 2
    np.testing.assert_allclose(SpanCrossEntropy(reduction=None)(targets, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(SpanCrossEntropy()(targets, logits), expected.mean(), rtol=1e-5)


def test_its_gradient_is_probability_minus_truth():
    logits = tf.constant(np.random.default_rng(1).normal(size=(1, 5, 2)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SpanCrossEntropy()([[1, 4]], logits)
    truth = np.zeros((1, 5, 2))
    truth[0, 1, 0] = truth[0, 4, 1] = 1
    np.testing.assert_allclose(tape.gradient(loss, logits), (tf.nn.softmax(logits, axis=1) - truth) / 2, atol=1e-6)


def test_it_is_made_again_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(SpanCrossEntropy()))
    assert isinstance(again, SpanCrossEntropy)
