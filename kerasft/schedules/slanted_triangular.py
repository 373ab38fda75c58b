"""A short rise and a long, straight fall."""

import keras
import tensorflow as tf

from kerasft.checks import check, check_below_one


@keras.saving.register_keras_serializable("kerasft")
class SlantedTriangular(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a straight line from `learning_rate / ratio`, then falls back to it in a straight line.

    Args:
        learning_rate: float. The peak.
        total_steps: int.
        rise: float between 0 and 1. Share of the steps before the peak.
        ratio: float, 1 or more. Of the peak to the first and the last rate.

    Raises: UserError for arguments out of range.
    Source: Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, equation 3.
    """

    def __init__(self, learning_rate, total_steps, rise=0.1, ratio=32):
        check_below_one("slanted_triangular", "rise", rise, low_is_allowed=False)
        check("slanted_triangular", "ratio", ratio, 1)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.rise = rise
        self.ratio = ratio

    def __call__(self, step):
        cut = max(int(self.total_steps * self.rise), 1)
        step = tf.cast(step, tf.float32)
        falling = 1 - (step - cut) / max(self.total_steps - cut, 1)
        share = tf.where(step < cut, step / cut, tf.maximum(falling, 0.0))
        return self.learning_rate * (1 + share * (self.ratio - 1)) / self.ratio

    def get_config(self):
        return {name: getattr(self, name) for name in ("learning_rate", "total_steps", "rise", "ratio")}
