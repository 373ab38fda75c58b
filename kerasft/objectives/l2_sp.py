"""Weight decay towards the pretrained weights instead of towards zero."""

from typing import ClassVar

import keras

from kerasft.checks import check
from kerasft.objectives._starts import Starts, backbone_weights
from kerasft.objectives.base import Objective


class L2SP(Objective):
    """Pulls the backbone back to where it started, and the head to zero.

    Adds `alpha / 2 * |backbone - pretrained|² + beta / 2 * |head|²` over all weights that learn. Keeps what was
    learned in pretraining where examples are few; costs one more copy of the backbone weights that learn. It takes
    the place of weight decay: set the optimizer's `weight_decay` to 0.

    Args:
        alpha: float, 0 or more. Strength of the pull to the pretrained weights.
        beta: float, 0 or more. Strength of the pull of the head to zero.

    Raises: UserError if a strength is below 0.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "l2_sp", "alpha": 0.01}])
    Source: Li, Grandvalet & Davoine 2018, https://arxiv.org/abs/1802.01483, section 3.
    """

    name: ClassVar[str] = "l2_sp"
    takes_features = True

    def __init__(self, alpha=0.1, beta=0.01):
        check("l2_sp", "alpha", alpha, 0)
        check("l2_sp", "beta", beta, 0)
        self.alpha = alpha
        self.beta = beta
        self.starts = Starts()

    def attach(self, model):
        self.starts.keep(model)

    def __call__(self, model, x, y, y_pred, extra=None):
        moved = [weight.value - self.starts.of(weight) for weight in backbone_weights(model)]
        head = [weight.value for weight in model.head.trainable_weights]
        return self.alpha / 2 * _squared_norm(moved) + self.beta / 2 * _squared_norm(head)


def _squared_norm(tensors):
    return sum((keras.ops.sum(keras.ops.square(keras.ops.cast(tensor, "float32"))) for tensor in tensors), 0.0)
