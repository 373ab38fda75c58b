"""Inputs changed a little, for the worse."""

import functools
from typing import ClassVar

import tensorflow as tf

from kerasft import deltas
from kerasft.checks import check, check_name, check_whole
from kerasft.objectives._distributions import divergence, is_multi_label
from kerasft.objectives._perturbation import Perturbed, euclidean, greatest
from kerasft.objectives.base import Objective
from kerasft.taps import tap

STEPS = {"fgm": 1, "pgd": 3, "freelb": 3, "smart": 1}
EPSILON = {"fgm": 0.02, "pgd": 0.02, "freelb": 0.05, "smart": 1e-3}
START = 1e-5  # Standard deviation of SMART's first change.


class Adversarial(Objective):
    """Also trains on embeddings of texts, or pixels of images, that are changed so that the loss grows.

    - `"fgm"`: one step of length `epsilon` up the slope; its loss is added.
    - `"pgd"`: `steps` steps of `step_size`, within a ball of radius `epsilon`; the last one's loss is added.
    - `"freelb"`: the same from a random start; the mean loss along the way replaces the plain one.
    - `"smart"`: how far the outputs move, in Kullback-Leibler divergence both ways, where they move farthest within
      `epsilon` for each number, is added. The paper's other half, an optimizer with proximal points, is not in it.

    Other lengths are Euclidean, over all of a row, and relative to that of its embeddings or pixels: 0.02 changes any
    backbone's by 2 %. A step takes about `2 + steps` times as long.

    Args:
        kind: str. One of those above.
        epsilon: float above 0, or None for 0.02 (FGM, PGD), 0.05 (FreeLB) or 0.001 (SMART).
        steps: int, 1 or more, or None for 1 (FGM, SMART) or 3 (PGD, FreeLB).
        step_size: float above 0, or None for `epsilon` with one step, `1.5 * epsilon / steps` with several.
        weight: float, 0 or more. Of what is added.

    Raises: UserError for arguments out of range.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "adversarial", "kind": "pgd"}])
    Source: FGM: Miyato, Dai & Goodfellow 2017, https://arxiv.org/abs/1605.07725, section 3; PGD: Madry et al. 2018,
        https://arxiv.org/abs/1706.06083, section 2.1; FreeLB: Zhu et al. 2020, https://arxiv.org/abs/1909.11764,
        algorithm 1; SMART: Jiang et al. 2020, https://arxiv.org/abs/1911.03437, section 3.1.
    """

    name: ClassVar[str] = "adversarial"
    changes_tokens: ClassVar[bool] = True

    def __init__(self, kind="fgm", epsilon=None, steps=None, step_size=None, weight=1.0):
        check_name("adversarial", "kind", kind, STEPS)
        for name, value in (("epsilon", epsilon), ("step_size", step_size)):
            if value is not None:
                check("adversarial", name, value, 0, low_is_allowed=False)
        if steps is not None:
            check_whole("adversarial", "steps", steps)
        check("adversarial", "weight", weight, 0)
        self.kind = kind
        self.needs_classes = kind == "smart"
        self.epsilon = epsilon
        self.steps = steps
        self.step_size = step_size
        self.weight = weight

    def attach(self, model):
        self.embedding = deltas.token_embedding(model, "adversarial") if isinstance(model.input, dict) else None
        self.tap = self.embedding and tap(self.embedding)

    def __call__(self, model, x, y, y_pred, extra=None):
        width = self.embedding and self.embedding.output_dim
        passes = Perturbed(model, x, self.tap, width, relative=self.kind != "smart")
        if self.kind == "smart":
            return self.weight * self._smoothness(passes, y, y_pred)
        losses = functools.partial(model.row_losses, y)
        if self.kind == "freelb":
            mean = self._mean_on_the_way(passes, losses, model.step_seed("freelb"))
            return self.weight * (mean - losses(y_pred))
        return self.weight * losses(passes.outputs(self._top(passes, losses, tf.zeros(passes.shape), euclidean)))

    def _smoothness(self, passes, y, y_pred):
        """Returns how far the outputs move, where they move farthest; SMART's equation 3."""
        multi, fixed = is_multi_label(y, y_pred), tf.stop_gradient(y_pred)

        def apart(outputs, others=fixed):
            return divergence(outputs, others, multi) + divergence(others, outputs, multi)

        start = START * tf.random.stateless_normal(passes.shape, passes.model.step_seed("smart"))
        return apart(passes.outputs(self._top(passes, apart, start, greatest)), y_pred)

    def _mean_on_the_way(self, passes, losses, seed):
        """Returns the mean of the losses before each step; FreeLB's algorithm 1."""
        size = tf.cast(tf.reduce_prod(passes.shape[1:]), "float32")
        change = self._epsilon * tf.random.stateless_uniform(passes.shape, seed, -1.0, 1.0) * tf.math.rsqrt(size)
        total = 0.0
        for _ in range(self._steps - 1):
            value, change = passes.climb(change, losses, self._step_size, self._epsilon, euclidean)
            total += value
        return (total + losses(passes.outputs(change))) / self._steps

    def _top(self, passes, score, change, norm):
        """Returns the change after all steps."""
        for _ in range(self._steps):
            _, change = passes.climb(change, score, self._step_size, self._epsilon, norm)
        return change

    @property
    def _epsilon(self):
        return self.epsilon or EPSILON[self.kind]

    @property
    def _steps(self):
        return self.steps or STEPS[self.kind]

    @property
    def _step_size(self):
        return self.step_size or self._epsilon * (1.0 if self._steps == 1 else 1.5 / self._steps)
