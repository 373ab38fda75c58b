import signal

import keras
import numpy as np
import pytest

from kerasft import methods
from kerasft.errors import Interrupted, UserError
from kerasft.methods.base import Stage
from kerasft.training import checkpoint, store
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


def train(made, callbacks=list, given=None, optimizer=None, save_freq=1000):
    settings = training.Settings(optimizer, None, 1e-2, EPOCHS, 8, 0, made.directory, save_freq)
    given = given or methods.Full().stages(made.model, EPOCHS)
    return training.fit(made.model, made.task, given, (made.examples, None), settings, callbacks)


def position(made):
    return checkpoint.position(store.of_run(made.directory).newest())


def arrays(model):
    return [variable.numpy() for variable in model.variables]


def assert_equal(one, two):
    for left, right in zip(arrays(one.model), arrays(two.model), strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_no_stage_moves_is_left_out_but_known(session):
    broken, resumed = session(0.1), session(0.1)
    probe = methods.LinearProbe().stages(broken.model, EPOCHS)
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(1)], probe)
    saved, head = store.of_run(broken.directory).newest(), {id(weight) for weight in broken.model.head.weights}
    weights = {id(weight) for weight in broken.model.weights}
    for number, variable in enumerate(broken.model.variables):
        is_held = id(variable) in head or id(variable) not in weights  # Seeds are no weights.
        assert (f"variable.{number}" in saved.arrays) == is_held, variable.path
    resumed.directory = broken.directory
    weight = resumed.model.layers[1].weights[0]
    weight.assign_add(np.full(weight.shape, 1e-3))
    with pytest.raises(UserError, match="frozen weights of the backbone are others than when the run was interrupted"):
        train(resumed, given=methods.LinearProbe().stages(resumed.model, EPOCHS))
    weight.assign(broken.model.layers[1].weights[0])
    assert len(train(resumed, given=methods.LinearProbe().stages(resumed.model, EPOCHS)).epoch) == EPOCHS


def stopping(values, **arguments):
    return [Accuracy(values), keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", **arguments)]


@pytest.mark.parametrize("epoch", [1, pytest.param(EPOCHS - 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "optimizer", [None, pytest.param({"name": "sgd", "momentum": 0.9}, marks=pytest.mark.slow)], ids=["adamw", "sgd"]
)
def test_an_interrupted_run_ends_in_the_same_bits(session, epoch, optimizer):
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, optimizer=optimizer)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(epoch)], optimizer=optimizer)
    assert position(broken).epoch == epoch
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
    [
        ({"name": "sgd", "momentum": 0.9}, True, 3),
        pytest.param(None, True, 2, marks=pytest.mark.slow),
        pytest.param(None, False, 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_interrupted_in_the_second_stage(session, optimizer, continues, epoch):
    """Before its first epoch is done, or after."""
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, given=stages(continues), optimizer=optimizer)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(epoch)], stages(continues), optimizer)
    assert position(broken).epoch == epoch
    again = train(resumed, given=stages(continues), optimizer=optimizer)
    assert_equal(whole, resumed)
    assert again.history == history.history


def test_short_epochs_are_not_all_saved_but_the_last_of_a_stage_is(session, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 1000)
    made, numbers = session(), []
    keep = store.Store.save
    monkeypatch.setattr(
        store.Store, "save", lambda self, number, *rest: numbers.append(number) or keep(self, number, *rest)
    )
    train(made, given=stages(continues=True, lengths=(3, 1)))
    steps = numbers[-1] // EPOCHS
    assert numbers == [3 * steps, 4 * steps]


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_what_was_not_saved_is_done_anew(session, epoch, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 1000)
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, given=stages(continues=True))
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(epoch)], given=stages(continues=True))
    assert position(broken).epoch == (0 if epoch == 1 else 2)
    assert train(resumed, given=stages(continues=True)).history == history.history
    assert_equal(whole, resumed)


def test_a_run_that_may_go_back_saves_each_epoch(session, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 1000)
    made = session()
    given = methods.Full().stages(made.model, EPOCHS)
    settings = training.Settings(None, None, 1e-2, EPOCHS, 8, 0, made.directory, 1000, lower_rate_on_nan=True)
    with pytest.raises(KeyboardInterrupt):
        training.fit(made.model, made.task, given, (made.examples, None), settings, lambda: [Crash(2)])
    assert position(made).epoch == 2


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


@pytest.mark.parametrize("method", [methods.Full(), methods.LinearProbe()], ids=["full", "linear_probe"])
def test_the_best_weights_outlive_an_interruption(session, method):
    """The best epoch is the first; without its weights in the state, those of a later one would be kept."""
    values = [0.9, 0.1, 0.2, 0.3]
    sessions = whole, broken, resumed = session(), session(), session()
    whole_stages, broken_stages, resumed_stages = (method.stages(made.model, EPOCHS) for made in sessions)
    train(whole, lambda: stopping(values, patience=9, restore_best_weights=True), whole_stages)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*stopping(values, patience=9, restore_best_weights=True), Crash(2)], broken_stages)
    train(resumed, lambda: stopping(values, patience=9, restore_best_weights=True), resumed_stages)
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
    with pytest.raises(UserError, match=r"had the callbacks \[EarlyStopping\].*Received: \[\]"):
        train(resumed)


@pytest.mark.parametrize("values", [[0.9, 0.1, 0.2, 0.3], [0.1, 0.2, 0.9, 0.3]], ids=["stopped", "at its end"])
def test_a_run_that_was_trained_and_not_yet_saved_as_a_whole(session, values):
    """Nothing is trained again, and the best weights are found again."""
    callbacks = lambda: stopping(values, patience=2, restore_best_weights=True)  # noqa: E731
    whole, again = session(), session()
    again.directory = whole.directory
    history = train(whole, callbacks)
    record = Record()
    found = train(again, lambda: [*callbacks(), record])
    assert found.history == history.history and not record.begins
    assert_equal(whole, again)


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


@pytest.mark.parametrize(
    ("batch", "accumulated"),
    [(1, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((0, 1), (1, 1), (2, 1), (0, 2), (2, 2)))],
)
def test_interrupted_within_an_epoch(session, batch, accumulated):
    """With what an epoch has summed up: each of its logs is that of a whole epoch."""
    optimizer = {"name": "adamw", "gradient_accumulation_steps": accumulated} if accumulated > 1 else None
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, optimizer=optimizer)
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(1, batch)], optimizer=optimizer, save_freq=1)
    record = Record()
    # Killed after the step and before it was saved.
    assert (position(broken).epoch, position(broken).step) == (1, batch)
    again = train(resumed, lambda: [record], optimizer=optimizer)
    assert_equal(whole, resumed)
    assert again.history == history.history
    assert list(record.ends) == [1, 2, 3]


class Ask(keras.callbacks.Callback):
    """Asks the process to stop when a step is done."""

    def __init__(self, number, batch):
        super().__init__()
        self.number = number
        self.at = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.at:
            signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("number", "batch", "expected"), [(signal.SIGTERM, 0, (0, 1)), (signal.SIGINT, 2, (1, 0))], ids=["within", "end"]
)
def test_a_signal_saves_and_stops(session, number, batch, expected):
    """At the last step of an epoch, the validation that follows is done too."""
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole)
    resumed.directory = broken.directory
    with pytest.raises(Interrupted, match=f"Stopped by {number.name} after .*the same call goes on"):
        train(broken, lambda: [Ask(number, batch)])
    assert (position(broken).epoch, position(broken).step) == expected
    again = train(resumed)
    assert_equal(whole, resumed)
    assert again.history == history.history


def test_within_a_stage_that_continues(session):
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    train(whole, given=stages(True))
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [Crash(2, 2)], stages(True), save_freq=2)
    assert (position(broken).epoch, position(broken).step) == (2, 2)
    train(resumed, given=stages(True))
    assert_equal(whole, resumed)


def test_a_plateau_outlives_an_interruption(session):
    def callbacks():
        return [Accuracy([0.9, 0.1, 0.2, 0.1]), keras.callbacks.ReduceLROnPlateau("val_accuracy", 0.5, 2, mode="max")]

    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    history = train(whole, callbacks, optimizer=keras.optimizers.SGD(0.1))
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*callbacks(), Crash(2, 1)], optimizer=keras.optimizers.SGD(0.1), save_freq=1)
    again = train(resumed, callbacks, optimizer=keras.optimizers.SGD(0.1))
    assert again.history == history.history and len(set(history.history["learning_rate"])) == 2
    assert_equal(whole, resumed)


def test_a_model_checkpoint_knows_its_best_after_an_interruption(session, tmp_path):
    def callbacks(name):
        path, worse = str(tmp_path / f"{name}.weights.h5"), [0.5, 0.9, 0.2, 0.1]
        best = keras.callbacks.ModelCheckpoint(path, "val_accuracy", 0, True, save_weights_only=True, mode="max")
        return [Accuracy(worse), best]

    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    train(whole, lambda: callbacks("whole"))
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, lambda: [*callbacks("broken"), Crash(2, 1)], save_freq=1)
    kept = (tmp_path / "broken.weights.h5").read_bytes()
    train(resumed, lambda: callbacks("broken"))
    assert (tmp_path / "broken.weights.h5").read_bytes() == kept
    assert_equal(whole, resumed)
