"""No schedule."""

import keras


@keras.saving.register_keras_serializable("kerasft")
class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """The same learning rate at every step, after an optional linear warm-up.

    Args:
        learning_rate: float.
        total_steps: int. Updates of the whole training.
        warmup: float from 0 to 1. Share of the steps that warm up.
    """

    def __init__(self, learning_rate, total_steps, warmup=0.0):
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        rise = (keras.ops.cast(step, "float32") + 1) / max(1.0, self.warmup * self.total_steps)
        return self.learning_rate * keras.ops.minimum(rise, 1.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps, "warmup": self.warmup}
