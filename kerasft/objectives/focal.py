"""Less loss for rows that are right already."""

from typing import ClassVar

import tensorflow as tf

from kerasft.checks import check
from kerasft.objectives._distributions import is_multi_label
from kerasft.objectives.base import Objective


class Focal(Objective):
    """Multiplies the loss of each row by `(1 - p) ** gamma`, where `p` is the probability of the right class.

    Rows that are easy, often those of a frequent class, weigh little. With several labels a row, each label's loss is
    weighed by itself.

    Args:
        gamma: float, 0 or more. 0 changes nothing.

    Raises: UserError if it is below 0.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "focal", "gamma": 2}])
    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 3.2.
    """

    name: ClassVar[str] = "focal"
    needs_classes = True
    takes_features = True

    def __init__(self, gamma=2.0):
        check("focal", "gamma", gamma, 0)
        self.gamma = gamma

    def loss(self, inner, y, y_pred):
        if not is_multi_label(y, y_pred):
            right = tf.gather(tf.nn.softmax(y_pred), tf.cast(y, "int32"), batch_dims=len(y.shape))
            return (1 - right) ** self.gamma * inner(y, y_pred)
        y = tf.cast(y, y_pred.dtype)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(y, y_pred)
        weights = (1 - tf.exp(-losses)) ** self.gamma  # A label's loss is the logarithm of its probability.
        return inner(y, y_pred) + tf.reduce_mean((weights - 1) * losses, -1)
