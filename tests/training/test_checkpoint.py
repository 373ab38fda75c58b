import os

import keras
import numpy as np
import pytest

from kerasft import methods
from kerasft.errors import UserError
from kerasft.methods.base import Stage
from kerasft.training import checkpoint
from kerasft.training import fit as training

EPOCHS = 4


class Crash(keras.callbacks.Callback):
    """Breaks off in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.at and batch == 1:
            raise KeyboardInterrupt


class Accuracy(keras.callbacks.Callback):
    """Gives `val_accuracy` known values, so that it is known which epoch is the best."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_accuracy"] = self.values[epoch]


def train(made, callbacks=list, stages=None, optimizer=None):
    settings = training.Settings(optimizer, None, 1e-2, EPOCHS, 8, 0, made.directory)
    stages = stages or methods.Full().stages(made.model, EPOCHS)
    return training.fit(made.model, made.task, stages, (made.examples, None), settings, callbacks)


def arrays(model):
    return [variable.numpy() for variable in model.variables]


def assert_equal(one, two):
    for left, right in zip(arrays(one.model), arrays(two.model), strict=True):
        np.testing.assert_array_equal(left, right)


def stopping(values, **arguments):
    return [Accuracy(values), keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", **arguments)]


@pytest.mark.parametrize("epoch", [1, EPOCHS - 1])
@pytest.mark.parametrize("optimizer", [None, {"name": "sgd", "momentum": 0.9}], ids=["adamw", "sgd"])
def test_an_interrupted_run_ends_in_the_same_bits(session, epoch, optimizer):
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, optimizer=optimizer)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(epoch)], optimizer=optimizer)
    assert checkpoint.read(os.path.join(broken.directory, "checkpoint"))[0] == epoch
    again = train(resumed, optimizer=optimizer)
    assert_equal(whole, resumed)
    assert again.history == history.history
    assert again.epoch == list(range(EPOCHS))


def test_twice_interrupted(session):
    whole, resumed = session(0.1), session(0.1)
    train(whole)
    for epoch in (1, 2):
        broken = session(0.1)
        broken.directory = resumed.directory
        with pytest.raises(KeyboardInterrupt):
            train(broken, lambda epoch=epoch: [Crash(epoch)])
    train(resumed)
    assert_equal(whole, resumed)


def test_interrupted_in_the_second_stage(session):
    stages = [Stage("head", 2, methods.LinearProbe().apply), Stage("all", 2, methods.Full().apply)]
    whole, broken, resumed = session(), session(), session()
    train(whole, stages=stages)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(3)], stages)
    history = train(resumed, stages=stages)
    assert_equal(whole, resumed)
    assert len(history.history["loss"]) == EPOCHS


def test_the_best_weights_outlive_an_interruption(session):
    """The best epoch is the first; without its weights in the state, those of a later one would be kept."""
    values = [0.9, 0.1, 0.2, 0.3]
    whole, broken, resumed = session(), session(), session()
    train(whole, lambda: stopping(values, patience=9, restore_best_weights=True))
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*stopping(values, patience=9, restore_best_weights=True), Crash(2)])
    train(resumed, lambda: stopping(values, patience=9, restore_best_weights=True))
    for one, two in zip(whole.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_patience_goes_on_counting(session):
    values = [0.9, 0.1, 0.2, 0.3]
    broken, resumed = session(), session()
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*stopping(values, patience=2), Crash(2)])
    history = train(resumed, lambda: stopping(values, patience=2))
    assert len(history.history["loss"]) == 3


def test_the_state_is_one_file(session):
    broken = session()
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(1)])
    assert os.listdir(os.path.join(broken.directory, "checkpoint")) == ["state.safetensors"]
    assert checkpoint.read(os.path.join(broken.directory, "nothing")) == (0, {})


def test_the_last_epoch_needs_no_state(session):
    made = session()
    train(made)
    assert checkpoint.read(os.path.join(made.directory, "checkpoint"))[0] == EPOCHS - 1


def test_a_state_that_cannot_be_read_is_a_user_error(session):
    broken = session()
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(1)])
    directory = os.path.join(broken.directory, "checkpoint")
    path = os.path.join(directory, "state.safetensors")
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"interrupted run cannot be read .*state.safetensors"):
        checkpoint.read(directory)
