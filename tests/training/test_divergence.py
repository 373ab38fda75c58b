"""Numbers that are none any more are never saved, and training can go back to before them."""

import keras
import numpy as np
import pytest

from kerasft import methods
from kerasft.callbacks import Ema, Swa
from kerasft.errors import Diverged
from kerasft.training import checkpoint, store
from kerasft.training import fit as training
from tests.interruption import Crash

EPOCHS = 3


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN that no loss of these examples reads: the last position's, some times at this place."""

    def __init__(self, epoch, batch=0, times=1):
        super().__init__()
        self.at, self.times = (epoch, batch), times

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == self.at and self.times:
            self.times -= 1
            weight = next(w for w in self.model.weights if "position_embedding" in w.path)
            values = weight.numpy()
            values[-1] = np.nan
            weight.assign(values)


def train(made, callbacks=(), lower=True, optimizer=None, save_freq=1000):
    settings = training.Settings(
        optimizer, None, 1e-2, EPOCHS, 8, 0, made.directory, save_freq, lower_rate_on_nan=lower
    )
    stages = methods.Full().stages(made.model, EPOCHS)
    history = training.fit(made.model, made.task, stages, (made.examples, None), settings, lambda: list(callbacks))
    return history, settings


def newest(made):
    return store.of_run(made.directory).newest()


def assert_equal(one, two):
    for left, right in zip(one.model.variables, two.model.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


@pytest.mark.parametrize(("save_freq", "where"), [(1000, "the end of epoch 2"), (1, "epoch 2, step 1")])
def test_weights_that_no_loss_sees_are_never_saved(session, save_freq, where):
    made = session()
    with pytest.raises(Diverged, match=rf"seen at {where}: .*position_embedding.* is not finite.*Received: ") as error:
        train(made, [Poison(1)], lower=False, save_freq=save_freq)
    assert "lower_rate_on_nan=True" in str(error.value)
    saved = newest(made)
    assert checkpoint.position(saved).epoch == 1
    assert all(np.isfinite(saved.arrays[name]).all() for name in saved.arrays.names)


@pytest.mark.parametrize("epoch", [0, 1])
def test_it_goes_on_from_the_last_checkpoint_at_a_tenth_of_the_rate(session, epoch):
    made = session()
    with pytest.warns(UserWarning, match="Going on from the last checkpoint at a tenth"):
        history, settings = train(made, [Poison(epoch)])
    assert len(history.history["loss"]) == EPOCHS
    assert settings.rate_factor == 0.1
    assert all(np.isfinite(weight.numpy()).all() for weight in made.model.weights)


def test_the_first_step_after_it_is_a_tenth_as_long(session):
    class First(keras.callbacks.Callback):
        steps = ()

        def on_epoch_begin(self, epoch, logs=None):
            self.begin = self.model.head.weights[0].numpy()

        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                self.steps += (self.model.head.weights[0].numpy() - self.begin,)

    first = First()
    sgd = {"name": "sgd", "momentum": 0.0}
    with pytest.warns(UserWarning, match="diverged"):
        train(session(), [first, Poison(0)], optimizer=sgd)
    np.testing.assert_allclose(first.steps[1], 0.1 * first.steps[0], rtol=1e-4)


def test_a_second_time_is_an_error(session):
    made = session()
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(Diverged):
        train(made, [Poison(1), Poison(2)])
    with pytest.raises(Diverged):  # As the checkpoint tells another process.
        train(made, [Poison(2)])


@pytest.mark.filterwarnings("ignore:Training diverged")
def test_an_interruption_after_it_changes_nothing(session):
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    train(whole, [Poison(1)])
    with pytest.raises(KeyboardInterrupt):
        train(broken, [Poison(1), Crash(2)])
    resumed.directory = broken.directory
    _, settings = train(resumed)
    assert settings.rate_factor == 0.1
    assert_equal(whole, resumed)


@pytest.mark.filterwarnings("ignore:Training diverged")
def test_averages_hold_nothing_of_what_diverged(session):
    made = session()
    train(made, [Ema(0.5), Poison(0)])
    assert all(np.isfinite(weight.numpy()).all() for weight in made.model.weights)


@pytest.mark.parametrize("make_average", [lambda: Ema(0.9), lambda: Swa(1)], ids=["ema", "swa"])
@pytest.mark.parametrize("epoch", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_averages_go_on_within_an_epoch(session, make_average, epoch):
    whole, broken, resumed = session(0.1), session(0.1), session(0.1)
    train(whole, [make_average()])
    with pytest.raises(KeyboardInterrupt):
        train(broken, [make_average(), Crash(epoch, 1)], save_freq=1)
    resumed.directory = broken.directory
    assert checkpoint.position(newest(broken)).step == 1
    train(resumed, [make_average()])
    assert_equal(whole, resumed)
