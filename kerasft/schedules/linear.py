"""Linear warm-up, then linear decay."""

import numbers

import keras

from kerasft.errors import UserError


@keras.saving.register_keras_serializable("kerasft")
class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 to `learning_rate` over the warm-up, then falls in a line to 0 at `total_steps`.

    Args:
        learning_rate: float. The peak.
        total_steps: int. Updates of the whole training.
        warmup: float from 0 to 1. Share of the steps that warm up.

    Raises: UserError if `warmup` is no such share.
    Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, appendix A.2.
    """

    def __init__(self, learning_rate, total_steps, warmup=0.1):
        if not (isinstance(warmup, numbers.Real) and 0 <= warmup <= 1):
            raise UserError(f"linear: warmup is a share of the steps, 0 to 1. Received: warmup={warmup!r}")
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        warmup_steps = max(1.0, self.warmup * self.total_steps)
        rise = (step + 1) / warmup_steps
        fall = (self.total_steps - step) / max(1.0, self.total_steps - warmup_steps)
        return self.learning_rate * keras.ops.clip(keras.ops.minimum(rise, fall), 0.0, 1.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps, "warmup": self.warmup}
