"""Some weights are the pretrained ones, others in each step."""

from typing import ClassVar

import tensorflow as tf

from kerasft.checks import check_below_one
from kerasft.objectives._starts import Starts, backbone_weights
from kerasft.objectives.base import Objective


class Mixout(Objective):
    """Replaces a random share of the backbone's weights by the pretrained ones in each step.

    The mixed weights are `(kept * w + (1 - kept) * w0 - rate * w0) / (1 - rate)`, whose mean is `w`: dropout towards
    the pretrained model rather than towards zero. Steadies the training where examples are few; costs one more copy of
    the backbone's weights that learn.

    Args:
        rate: float, 0 or more and below 1. Share of the weights that are replaced.

    Raises: UserError if it is out of range.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "mixout", "rate": 0.7}])
    Source: Lee, Cho & Kang 2020, https://arxiv.org/abs/1909.11299, equation 3.
    """

    name: ClassVar[str] = "mixout"
    has_term: ClassVar[bool] = False
    takes_features = True

    def __init__(self, rate=0.7):
        check_below_one("mixout", "rate", rate)
        self.rate = rate
        self.starts = Starts()

    def attach(self, model):
        self.starts.keep(model)

    def gradients(self, model, compute, values=None):
        variables = model.trainable_variables
        values = list(values or [variable.value for variable in variables])
        mixed, kept = list(values), {}
        chosen = {id(weight) for weight in backbone_weights(model)}
        for number, variable in enumerate(variables):
            if id(variable) in chosen:
                seed = model.step_seed(f"mixout {number}")
                kept[number] = tf.cast(tf.random.stateless_uniform(variable.shape, seed) >= self.rate, variable.dtype)
                mixed[number] = self._mixed(values[number], self.starts.of(variable), kept[number])
        step = compute(mixed)
        return step._replace(gradients=[self._chained(g, kept.get(n)) for n, g in enumerate(step.gradients)])

    def _mixed(self, value, start, kept):
        return start + kept * (value - start) / (1 - self.rate)

    def _chained(self, gradient, kept):
        """Returns the gradient of a weight, of that of its mixture."""
        return gradient if kept is None or gradient is None else tf.convert_to_tensor(gradient) * kept / (1 - self.rate)
