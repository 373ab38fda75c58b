"""What every average of weights keeps, shown on the two there are."""

import keras
import numpy as np
import pytest

from kerasft.callbacks import Ema, Swa
from tests.callbacks.averages import Record, X, Y, assert_equal, fit, make, values

AVERAGES = pytest.mark.parametrize("make_average", [lambda: Ema(0.9), lambda: Swa(1)], ids=["ema", "swa"])


@AVERAGES
def test_training_goes_on_with_the_raw_weights_to_the_bit(make_average):
    plain, averaged = Record(), Record()
    fit(make(), plain)
    fit(make(), make_average(), averaged)
    for ours, theirs in zip(averaged.steps, plain.steps, strict=True):
        assert_equal(ours, theirs)


@AVERAGES
def test_validation_and_the_end_are_of_the_average(make_average):
    model, record = make(), Record()
    history = fit(model, make_average(), record).history
    assert_equal(values(model), record.validated[-1])
    assert any(not np.array_equal(a, b) for a, b in zip(record.validated[-1], record.steps[-1], strict=True))
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)


@AVERAGES
def test_the_best_weights_are_averages(make_average):
    class Loss(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = [3.0, 1.0, 2.0][epoch]

    model, record = make(), Record()
    stopping = keras.callbacks.EarlyStopping(restore_best_weights=True, patience=1)
    fit(model, make_average(), record, Loss(), stopping)
    assert_equal(values(model), record.validated[1])


@AVERAGES
def test_its_state_is_all_that_an_interrupted_run_needs(make_average):
    """One fit of three epochs is the same as one of one and, by another object, one of two."""
    whole, parts, before, after = make(), make(), make_average(), make_average()
    fit(whole, make_average())
    fit(parts, before, epochs=1)
    stored = {name: variable.numpy() for name, variable in before.state.items()}

    class Restore(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            for name, variable in after.state.items():
                variable.assign(stored[name])

    fit(parts, after, Restore(), epochs=3, first=1)
    assert_equal(values(parts), values(whole))


@AVERAGES
def test_what_a_later_stage_unfreezes_has_been_its_own_average(make_average):
    model, average, record = make(), make_average(), Record()
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    frozen = model.layers[0].kernel
    begin = frozen.numpy()
    fit(model, average, epochs=1)
    model.layers[0].trainable = True
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, average, record, epochs=2, first=1)
    ends = [step[model.weights.index(frozen)] for step in record.steps]
    shares = [0.5, 0.5] if isinstance(average, Swa) else _shares(average, begun=3, steps=3)
    points = [begin, ends[-1]] if isinstance(average, Swa) else [begin, *ends]
    expected = sum(share * point for share, point in zip(shares, points, strict=True))
    np.testing.assert_allclose(frozen.numpy(), expected, rtol=1e-5)


def _shares(ema, begun, steps):
    """Returns how much the value at the beginning and after each step count in the average."""
    shares = [1.0]
    for number in range(begun, begun + steps):
        decay = min(ema.decay, (1 + number) / (10 + number))
        shares = [decay * share for share in shares] + [1 - decay]
    return shares


@AVERAGES
def test_an_object_may_be_used_again(make_average):
    average, one, two = make_average(), make(), make()
    fit(one, average)
    fit(two, average)
    assert_equal(values(one), values(two))


@AVERAGES
def test_frozen_weights_and_statistics_stay(make_average):
    model = make()
    model.layers[1].trainable = False
    model.compile("sgd", "mse", run_eagerly=True)
    before = values(model.layers[1])
    average = make_average()
    fit(model, average)
    assert_equal(values(model.layers[1]), before)
    assert len(average.averages) == 4
