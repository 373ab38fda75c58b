"""No schedule."""

import numbers

import keras

from kerasft.errors import UserError


@keras.saving.register_keras_serializable("kerasft")
class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """The same learning rate at every step, after an optional linear warm-up.

    Args:
        learning_rate: float.
        total_steps: int. Updates of the whole training.
        warmup: float from 0 to 1. Share of the steps that warm up.

    Raises: UserError if `warmup` is no such share.
    """

    def __init__(self, learning_rate, total_steps, warmup=0.0):
        if not (isinstance(warmup, numbers.Real) and 0 <= warmup <= 1):
            raise UserError(f"constant: warmup is a share of the steps, 0 to 1. Received: warmup={warmup!r}")
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        rise = (keras.ops.cast(step, "float32") + 1) / max(1.0, self.warmup * self.total_steps)
        return self.learning_rate * keras.ops.minimum(rise, 1.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps, "warmup": self.warmup}
