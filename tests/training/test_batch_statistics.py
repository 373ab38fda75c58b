import keras
import numpy as np
import tensorflow as tf

from kerasft.training import batch_statistics

X = np.random.default_rng(0).normal(2, 3, (40, 3)).astype("float32")


def batches():
    return tf.data.Dataset.from_tensor_slices((X, X)).batch(16)


def test_they_are_the_means_over_batches_weighted_by_rows():
    layer = keras.layers.BatchNormalization(momentum=0.9)
    batch_statistics.estimate(keras.Sequential([keras.Input((3,)), layer]), batches)
    parts = [X[:16], X[16:32], X[32:]]
    np.testing.assert_allclose(layer.moving_mean.numpy(), X.mean(axis=0), rtol=1e-5)
    variance = sum(len(part) * part.var(axis=0) for part in parts) / 40
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)
    assert layer.momentum == 0.9


def test_frozen_layers_keep_theirs():
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.trainable = False
    batch_statistics.estimate(model, batches)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(3))
