"""Stops at the first loss that is no number, and says what to do."""

import math

import keras

from kerasft.callbacks.base import diverged


class TerminateOnNan(keras.callbacks.Callback):
    """Ends `fit` with an error as soon as the loss is NaN or infinite, so that no such weights are saved.

    `keras.callbacks.TerminateOnNaN` stops in silence and lets the run be saved.

    Raises: Diverged, a UserError.
    """

    def on_train_begin(self, logs=None):
        self.last_loss = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            before = "none" if self.last_loss is None else f"{self.last_loss:.4f}"
            where = f"epoch {self.epoch + 1}, step {batch + 1}: the loss is {loss} (mean before: {before})"
            raise diverged(self.model, where, f"loss={loss}")
        self.last_loss = loss
