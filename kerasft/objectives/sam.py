"""The gradient where the loss around is worst: towards flat minima."""

from typing import ClassVar

import tensorflow as tf

from kerasft.checks import check
from kerasft.objectives.base import Objective


class Sam(Objective):
    """Sharpness-aware minimisation: takes the gradient `rho` up the slope instead of where the weights are.

    What is shown as `sam` is by how much the loss is higher there. A step takes twice as long. On several devices each
    goes up its own slope, as the paper does.

    Args:
        rho: float above 0. Length of the step up, over all weights that learn.

    Raises: UserError if it is not above 0.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "sam", "rho": 0.05}])
    Source: Foret et al. 2021, https://arxiv.org/abs/2010.01412, equation 2 and algorithm 1.
    """

    name: ClassVar[str] = "sam"
    takes_features = True

    def __init__(self, rho=0.05):
        check("sam", "rho", rho, 0, low_is_allowed=False)
        self.rho = rho

    def gradients(self, model, compute, values=None):
        here = compute(values)
        values = values or [variable.value for variable in model.trainable_variables]
        slopes = [None if g is None else tf.cast(tf.convert_to_tensor(g), "float32") for g in here.gradients]
        norm = tf.linalg.global_norm(slopes)
        scale = tf.math.divide_no_nan(self.rho, norm)
        there = compute([_moved(v, slope, scale) for v, slope in zip(values, slopes, strict=True)])
        # Where half precision overflows, the step is left out; it has no term.
        term = tf.where(tf.math.is_finite(norm), there.loss - here.loss, 0.0)
        return here._replace(gradients=there.gradients, terms={**here.terms, self.name: term})


def _moved(value, slope, scale):
    """Returns a weight moved up its slope; one without a slope as it is."""
    return value if slope is None else value + tf.cast(scale * slope, value.dtype)
