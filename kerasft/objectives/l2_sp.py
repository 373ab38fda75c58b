"""Weight decay towards the pretrained weights instead of towards zero."""

from typing import ClassVar

import keras

from kerasft.errors import UserError
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

    def __init__(self, alpha=0.1, beta=0.01):
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise UserError(f"l2_sp: {name} must be 0 or more. Received: {name}={value!r}")
        self.alpha = alpha
        self.beta = beta
        self.starts = {}

    def attach(self, model):
        """Keeps the values of the backbone weights that learn from this stage on: until now they were frozen."""
        for weight in backbone_weights(model):
            if weight.path not in self.starts:
                # A variable, as a constant would be part of each traced graph; of an array, as Keras shares tensors.
                self.starts[weight.path] = keras.Variable(weight.numpy(), trainable=False, dtype=weight.dtype)

    def __call__(self, model, x, y, y_pred):
        moved = [weight.value - self.starts[weight.path].value for weight in backbone_weights(model)]
        head = [weight.value for weight in model.head.trainable_weights]
        return self.alpha / 2 * _squared_norm(moved) + self.beta / 2 * _squared_norm(head)


def backbone_weights(model):
    """Returns the weights below the head that learn."""
    head = {id(weight) for weight in model.head.weights}
    return [weight for weight in model.trainable_weights if id(weight) not in head]


def _squared_norm(tensors):
    return sum((keras.ops.sum(keras.ops.square(keras.ops.cast(tensor, "float32"))) for tensor in tensors), 0.0)
