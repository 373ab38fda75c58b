"""An exponential moving average of the weights."""

import tensorflow as tf

from kerasft.callbacks.base import WeightAverage
from kerasft.checks import check_below_one


class Ema(WeightAverage):
    """Averages the weights after each step, the latest most: `average = d * average + (1 - d) * weights`.

    Validation, and what is saved, are of the average, which is steadier than the last weights and often better, above
    all with a constant learning rate. `d` is `decay`, but `(1 + n) / (10 + n)` after `n` steps as long as that is less:
    in a fine-tuning of some hundred steps the average would else still hold the untrained head.

    Args:
        decay: float above 0 and below 1. About `1 / (1 - decay)` steps count.

    Raises: UserError if it is out of range.
    Example: >>> tuner.fit("reviews.csv", callbacks=[{"name": "ema", "decay": 0.99}])
    Source: Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; decay: Tarvainen & Valpola 2017,
        https://arxiv.org/abs/1703.01780, section 3.2; its beginning: `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, decay=0.999):
        check_below_one("ema", "decay", decay, low_is_allowed=False)
        super().__init__()
        self.decay = decay

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.update = tf.function(self._updated)  # Traced anew: other weights may learn now.

    def on_train_batch_end(self, batch, logs=None):
        self.update()

    def _updated(self):
        count = tf.cast(self.count, "float32")
        decay = tf.minimum(self.decay, (1 + count) / (10 + count))
        for variable, average in self.averages.values():
            average.assign(average + tf.cast(1 - decay, average.dtype) * (variable.value - average))
        self.count.assign_add(1)
