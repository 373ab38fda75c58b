"""What is being done, how far, how fast, how long still."""

import sys
import time
import warnings

import keras

from kerasft.callbacks.base import waited

PATIENCE = 0.2  # Share of an epoch that may be spent on waiting for data without a warning,
SECONDS = 5  # and how long, however large the share.


class Progress(keras.callbacks.Callback):
    """Shows epoch, step, loss, metrics, examples per second and time left; one line an epoch stays.

    On a terminal the line is redrawn twice a second; elsewhere (a file, a notebook's log) a line is printed every
    ten seconds. Rates are of what this process trained; they do not go into the logs, which shall be the same whenever
    a run is repeated. Of a `FineTunedModel` the line that stays also says for how much of the time training waited for
    its data.

    Args:
        rows: int. Training examples of an epoch.
        stream: text stream. Default standard error.
    """

    def __init__(self, rows, stream=None):
        super().__init__()
        self.rows = rows
        self.line = Line(stream)
        self.trained = 0
        self.spent_seconds = 0.0
        self.seconds: float | None = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.first = epoch, None
        self.began, self.waited = time.monotonic(), waited(self.model)
        self.line.begin()

    def on_train_batch_begin(self, batch, logs=None):
        if self.first is None:
            self.first = batch

    def on_train_batch_end(self, batch, logs=None):
        if not self.line.is_due():
            return
        now = time.monotonic()
        done = (batch + 1) / self.params["steps"]
        rows = done * self.rows - self._rows_before()
        rate = rows / (now - self.began)
        rows_left = (self.params["epochs"] - self.epoch - done) * self.rows
        rate_of_all = (self.trained + rows) / (self.spent_seconds + now - self.began)
        self._show(f"step {batch + 1}/{self.params['steps']}", logs, rate, f"{clock(rows_left / rate_of_all)} left")

    def on_test_begin(self, logs=None):
        self.seconds = time.monotonic() - self.began

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        seconds = self.seconds or now - self.began
        self.seconds = None
        rows = self.rows - self._rows_before()
        self.trained += rows
        self.spent_seconds += now - self.began
        seconds_waited = waited(self.model) - self.waited
        share = f"{seconds_waited / seconds:.0%} waiting for data  " if hasattr(self.model, "waiting") else ""
        self._show("done", logs, rows / seconds, f"{share}{clock(now - self.began)}", last=True)
        if seconds_waited > max(PATIENCE * seconds, SECONDS):
            what = f"Training waited {seconds_waited / seconds:.0%} of epoch {epoch + 1} for its data."
            warnings.warn(f"{what} What helps: a faster disk, smaller image files, less augmentation.", stacklevel=2)

    def _rows_before(self):
        """Returns the rows of this epoch that a process before this trained on."""
        return self.first / self.params["steps"] * self.rows if self.first else 0

    def _show(self, where, logs, rate, duration, last=False):
        values = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        epoch = f"epoch {self.epoch + 1}/{self.params['epochs']}"
        self.line.show(f"{epoch}  {where}  {values}  {rate:.0f} examples/s  {duration}", last)


class Line:
    """A line on a text stream, standard error by default: redrawn on a terminal, elsewhere printed now and then."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
        self.interval_seconds = 0.5 if self.stream.isatty() else 10.0
        self.begin()

    def begin(self):
        """Has the first interval begin now."""
        self.shown = time.monotonic()

    def is_due(self):
        """Returns True if an interval is over, and begins the next one."""
        now = time.monotonic()
        if now - self.shown < self.interval_seconds:
            return False
        self.shown = now
        return True

    def show(self, line, last=False):
        """Shows `line` in place of the one before, unless that was the last."""
        if not self.stream.isatty():
            print(line, file=self.stream, flush=True)
        else:
            print(f"\r\x1b[2K{line}", end="\n" if last else "", file=self.stream, flush=True)


def clock(seconds):
    """Returns a duration as minutes and seconds, or with hours if there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
