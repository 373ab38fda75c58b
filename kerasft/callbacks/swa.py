"""Stochastic weight averaging."""

from typing import ClassVar

from kerasft.callbacks.base import WeightAverage
from kerasft.checks import check_whole


class Swa(WeightAverage):
    """Averages the weights at the ends of epochs, all alike, from `start` on.

    From then on validation, and what is saved, are of the average, which lies in a flatter part of the loss. It needs
    weights that still move: train with `schedule="constant"`. The statistics of BatchNorm are estimated again, in a
    pass over the training data, when training is done.

    Args:
        start: int, 1 or more. The first epoch that counts, where 1 is the first of all. The paper's is three quarters
            of the way.

    Raises: UserError if it is out of range.
    Example: >>> tuner.fit("reviews.csv", epochs=8, callbacks=[{"name": "swa", "start": 6}])
    Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, algorithm 1.
    """

    has_statistics: ClassVar[bool] = False

    def __init__(self, start=2):
        check_whole("swa", "start", start)
        super().__init__()
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.is_due = epoch + 1 >= self.start

    def on_test_begin(self, logs=None):
        self._update()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._update()
        super().on_epoch_end(epoch, logs)

    def _update(self):
        """Takes the weights of this epoch into the mean, once: before its validation, or at its end without one."""
        if not self.is_due:
            return
        self.is_due = False
        count = int(self.count.numpy())
        for variable, average in self.averages.values():
            average.assign(average + (variable.value - average) / (count + 1))
        self.count.assign_add(1)
