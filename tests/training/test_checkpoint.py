import os

import keras
import numpy as np
import pytest

from kerasft import methods
from kerasft.errors import UserError
from kerasft.methods.base import Stage
from kerasft.training import checkpoint
from kerasft.training import fit as training
from tests.interruption import Crash

EPOCHS = 4


class Accuracy(keras.callbacks.Callback):
    """Gives `val_accuracy` known values, so that it is known which epoch is the best."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_accuracy"] = self.values[epoch]


def train(made, callbacks=list, given=None, optimizer=None):
    settings = training.Settings(optimizer, None, 1e-2, EPOCHS, 8, 0, made.directory)
    given = given or methods.Full().stages(made.model, EPOCHS)
    return training.fit(made.model, made.task, given, (made.examples, None), settings, callbacks)


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


def stages(continues, lengths=(2, 2)):
    """Returns a stage of the head alone and stages of everything, with the same schedule or their own."""
    later = [Stage("all", length, methods.Full().apply, continues=continues) for length in lengths[1:]]
    return [Stage("head", lengths[0], methods.LinearProbe().apply), *later]


@pytest.mark.parametrize(
    ("optimizer", "continues", "epoch"),
    [(None, True, 2), ({"name": "sgd", "momentum": 0.9}, True, 3), (None, False, 2)],
    ids=str,
)
def test_interrupted_in_the_second_stage(session, optimizer, continues, epoch):
    """Before its first epoch is done, or after."""
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, given=stages(continues), optimizer=optimizer)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(epoch)], stages(continues), optimizer)
    assert checkpoint.read(os.path.join(broken.directory, "checkpoint"))[0] == epoch
    again = train(resumed, given=stages(continues), optimizer=optimizer)
    assert_equal(whole, resumed)
    assert again.history == history.history


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


class Record(keras.callbacks.Callback):
    """Keeps the weights at the beginning and the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.begins, self.ends = {}, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.begins[epoch] = self.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        self.ends[epoch] = self.model.get_weights()


@pytest.mark.parametrize("best", [0, 1, 3])
def test_the_best_weights_are_those_of_all_stages(session, best):
    made, record = session(), Record()
    values = [0.9 if epoch == best else 0.1 for epoch in range(EPOCHS)]
    train(made, lambda: [*stopping(values, patience=9, restore_best_weights=True), record], stages(continues=True))
    for kept, expected in zip(made.model.get_weights(), record.ends[best], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_a_stage_begins_where_the_one_before_ended_not_with_its_best(session):
    made, record = session(), Record()
    callbacks = lambda: [*stopping([0.9, 0.1, 0.1, 0.1], patience=9, restore_best_weights=True), record]  # noqa: E731
    train(made, callbacks, stages(continues=True))
    assert not all(np.array_equal(one, two) for one, two in zip(record.ends[0], record.ends[1], strict=True))
    for began, ended in zip(record.begins[2], record.ends[1], strict=True):
        np.testing.assert_array_equal(began, ended)


def test_the_best_weights_of_all_stages_outlive_an_interruption(session):
    """The best epoch is the first; the run breaks off right after its stage."""
    broken, resumed, record = session(), session(), Record()
    resumed.directory = broken.directory
    callbacks = lambda: stopping([0.9, 0.1, 0.2, 0.3], patience=9, restore_best_weights=True)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*callbacks(), record, Crash(1)], stages(True, (1, 3)))
    train(resumed, callbacks, stages(True, (1, 3)))
    for kept, expected in zip(resumed.model.get_weights(), record.ends[0], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_patience_counts_through_the_stages(session):
    made = session()
    history = train(made, lambda: stopping([0.9, 0.1, 0.2, 0.3], patience=2), stages(False, (1, 1, 1, 1)))
    assert len(history.history["loss"]) == 3


def test_going_on_needs_as_many_early_stoppings(session):
    broken, resumed = session(), session()
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*stopping([0.1] * EPOCHS, patience=9), Crash(1)])
    with pytest.raises(UserError, match=r"had 1 EarlyStopping callbacks.*Received: 0"):
        train(resumed)


def test_an_epoch_that_stops_the_run_needs_no_state(session):
    made = session()
    train(made, lambda: stopping([0.9, 0.1, 0.2, 0.3], patience=1))
    assert checkpoint.read(os.path.join(made.directory, "checkpoint"))[0] == 1


def test_moments_of_weights_of_one_path_are_told_apart():
    """As SmolLM3 has them: the upper one learns first, then both."""
    lower, upper = (keras.Variable(np.ones(size), name="kernel") for size in (2, 3))
    shapes = []
    for learning in ([upper], [lower, upper]):
        made = keras.optimizers.SGD(0.1, momentum=0.9)
        made.build(learning)
        shapes.append({name: slot.shape for name, slot in checkpoint._slots(made).items()})
    first, second = shapes
    assert {name: second[name] for name in first} == first
    assert len(second) == len(first) + 1


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
