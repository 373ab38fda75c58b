"""Stops at the first loss that is no number, and says what to do."""

import math

import keras

from kerasft.errors import UserError


class TerminateOnNan(keras.callbacks.Callback):
    """Ends `fit` with a UserError as soon as the loss is NaN or infinite, so that no such weights are saved.

    `keras.callbacks.TerminateOnNaN` stops in silence and lets the run be saved.
    """

    def on_train_begin(self, logs=None):
        self.last_loss = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self._stop(f"step {batch + 1}: the loss is {loss}", f"loss={loss}")
        self.last_loss = loss

    def on_epoch_end(self, epoch, logs=None):
        # The gradient of the very last step may be the first that is no number, and no loss will tell.
        for weight in self.model.trainable_variables:
            if not keras.ops.all(keras.ops.isfinite(weight)):
                self._stop(f"its last step: weights are no numbers, the first in {weight.path}", weight.path)

    def _stop(self, where, received):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))  # Of any number of replicas.
        before = "none" if self.last_loss is None else f"{self.last_loss:.4f}"
        raise UserError(
            f"Training diverged at epoch {self.epoch + 1}, {where} (mean before: {before}, learning rate {rate:.2e}). "
            "Nothing of it was saved. Try a learning rate a tenth as high, or precision='float32'. "
            f"Received: {received}"
        )
