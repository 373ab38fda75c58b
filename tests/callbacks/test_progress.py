import io
import types
import warnings

import keras
import numpy as np
import pytest

from kerasft.callbacks import Progress, progress


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def run(callback, clock, epochs=2, seconds_a_step=1.0, validation_seconds=0.0, first=0):  # noqa: PLR0913
    """Plays epochs of 20 steps, from the step `first` on, and returns the logs of each."""
    callback.set_params({"epochs": epochs, "steps": 20})
    kept = []
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(first, 20):
            callback.on_train_batch_begin(batch)
            clock.now += seconds_a_step
            callback.on_train_batch_end(batch, {"loss": 0.5})
        if validation_seconds:
            callback.on_test_begin()
            clock.now += validation_seconds
        kept.append({"loss": 0.5, "val_loss": 0.25})
        callback.on_epoch_end(epoch, kept[-1])
    return kept


def test_a_log_has_a_line_every_ten_seconds_and_one_for_each_epoch(clock):
    stream = io.StringIO()
    run(Progress(200, stream), clock)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  step 10/20  loss 0.5000  10 examples/s  0:30 left",
        "epoch 1/2  step 20/20  loss 0.5000  10 examples/s  0:20 left",
        "epoch 1/2  done  loss 0.5000  val_loss 0.2500  10 examples/s  0:20",
        "epoch 2/2  step 10/20  loss 0.5000  10 examples/s  0:10 left",
        "epoch 2/2  step 20/20  loss 0.5000  10 examples/s  0:00 left",
        "epoch 2/2  done  loss 0.5000  val_loss 0.2500  10 examples/s  0:20",
    ]


def test_a_terminal_has_one_line_that_is_drawn_again(clock):
    stream = Terminal()
    run(Progress(200, stream), clock, epochs=1, seconds_a_step=0.25)
    lines = stream.getvalue().split("\n")
    drawn = lines[0].split("\r\x1b[2K")[1:]
    assert len(drawn) == 10 + 1  # Twice a second for five seconds, and the end.
    assert drawn[0] == "epoch 1/1  step 2/20  loss 0.5000  40 examples/s  0:04 left"
    assert drawn[-1].startswith("epoch 1/1  done")
    assert lines[1:] == [""]


def test_the_rate_is_that_of_training_without_validation(clock):
    stream = io.StringIO()
    logs = run(Progress(200, stream), clock, validation_seconds=80.0)
    done = [line for line in stream.getvalue().splitlines() if "  done  " in line]
    assert len(done) == 2 and all("  10 examples/s  " in line for line in done)
    assert all("examples_per_second" not in entry for entry in logs)  # It differs each time.


def test_an_epoch_that_goes_on_in_the_middle_counts_its_own_rows(clock):
    stream = io.StringIO()
    run(Progress(200, stream), clock, epochs=1, seconds_a_step=10.0, first=10)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "epoch 1/1  step 11/20  loss 0.5000  1 examples/s  1:30 left"
    assert "  1 examples/s  1:40" in lines[-1]


def test_the_time_left_counts_validation_once_it_is_known(clock):
    stream = io.StringIO()
    run(Progress(200, stream), clock, validation_seconds=80.0)
    second = [line for line in stream.getvalue().splitlines() if line.startswith("epoch 2/2  step 10/20")]
    # 300 rows took 110 seconds, 100 are left.
    assert second == ["epoch 2/2  step 10/20  loss 0.5000  10 examples/s  0:37 left"]


def test_hours_are_shown():
    assert [progress.clock(seconds) for seconds in (0.4, 59.6, 3599, 3600, 36061)] == [
        "0:00",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


def test_in_a_fit_of_keras():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    x, y = np.ones((6, 2)), np.ones((6, 1))
    stream = io.StringIO()
    model.fit(x, y, batch_size=2, epochs=2, callbacks=[Progress(6, stream)], verbose=0)
    assert [line.split("  ")[:2] for line in stream.getvalue().splitlines()] == [
        ["epoch 1/2", "done"],
        ["epoch 2/2", "done"],
    ]


def test_an_epoch_says_how_long_it_waited_for_data_and_warns_if_that_was_long(clock):
    stream = io.StringIO()
    callback = Progress(200, stream)
    callback.set_model(types.SimpleNamespace(waiting=types.SimpleNamespace(seconds=3.0)))

    def epoch(waited):
        callback.set_params({"epochs": 3, "steps": 20})
        callback.on_epoch_begin(0)
        callback.model.waiting.seconds += waited
        clock.now += 40
        callback.on_epoch_end(0, {})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epoch(waited=2)
    assert "5% waiting for data" in stream.getvalue()
    with pytest.warns(UserWarning, match="Training waited 30% of epoch 1 for its data"):
        epoch(waited=12)
