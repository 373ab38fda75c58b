"""Targets that leave some probability to every class."""

from typing import ClassVar

import tensorflow as tf

from kerasft.checks import check
from kerasft.objectives._distributions import cross_entropy, is_multi_label
from kerasft.objectives.base import Objective


class LabelSmoothing(Objective):
    """Trains towards `1 - smoothing` for the right class, and `smoothing` spread evenly over all.

    The loss becomes `(1 - smoothing) * loss + smoothing * cross_entropy(uniform, outputs)`. Keeps a classifier from
    growing ever surer, which helps where labels are partly wrong. Of several labels, each is smoothed towards 1/2.

    Args:
        smoothing: float from 0 to 1.

    Raises: UserError if it is out of range.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "label_smoothing", "smoothing": 0.1}])
    Source: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """

    name: ClassVar[str] = "label_smoothing"
    needs_classes = True
    takes_features = True

    def __init__(self, smoothing=0.1):
        check("label_smoothing", "smoothing", smoothing, 0, 1)
        self.smoothing = smoothing

    def loss(self, inner, y, y_pred):
        return (1 - self.smoothing) * inner(y, y_pred) + self.smoothing * _even_cross_entropy(y, y_pred)


def _even_cross_entropy(y, logits):
    if is_multi_label(y, logits):
        halves = tf.fill(tf.shape(logits), 0.5)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(halves, logits), -1)
    return cross_entropy(tf.ones_like(logits) / logits.shape[-1], logits)
