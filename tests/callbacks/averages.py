"""A tiny model with BatchNorm, its training, and what is recorded of it, for the tests of averages of weights."""

import keras
import numpy as np

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X @ np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]], "float32")


class Record(keras.callbacks.Callback):
    """Keeps the weights after each step and those that each validation sees."""

    def __init__(self):
        super().__init__()
        self.steps, self.validated = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(values(self.model))

    def on_test_end(self, logs=None):
        self.validated.append(values(self.model))


def values(model):
    return [variable.numpy().copy() for variable in model.weights]


def make(normalized=True):
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *(parts if normalized else parts[::2])])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=3, first=0):
    given = {"batch_size": 8, "validation_data": (X, Y), "shuffle": False, "verbose": 0}
    return model.fit(X, Y, epochs=epochs, initial_epoch=first, callbacks=[*callbacks], **given)


def assert_equal(ours, theirs):
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, two)
