"""Noise on the embeddings."""

import contextlib
from typing import ClassVar

import tensorflow as tf

from kerasft import deltas
from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.objectives.base import Objective
from kerasft.taps import tap


class Neftune(Objective):
    """Adds uniform noise to the embedded tokens of each text while training.

    The noise of a text of `L` tokens and width `d` is drawn from `-1` to `1` times `alpha / sqrt(L * d)`. Costs
    nothing; made for instruction tuning, where answers become longer and better.

    Args:
        alpha: float, 0 or more. 5, 10 and 15 are the paper's.

    Raises: UserError if it is below 0, or for a backbone that embeds no tokens.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "neftune", "alpha": 5}])
    Source: Jain et al. 2023, https://arxiv.org/abs/2310.05914, algorithm 1.
    """

    name: ClassVar[str] = "neftune"
    changes_tokens: ClassVar[bool] = True
    has_term: ClassVar[bool] = False

    def __init__(self, alpha=5.0):
        check("neftune", "alpha", alpha, 0)
        self.alpha = alpha

    def prepare(self, tuner, frame):
        if tuner.task.modality != "text":
            raise UserError(f"neftune works with texts only. Received: a task that reads {tuner.task.modality}")

    def attach(self, model):
        self.tap = tap(deltas.token_embedding(model, "neftune"))

    @contextlib.contextmanager
    def forward(self, model, x, y):
        with self.tap.through(lambda embedded: embedded + self._noise(model, x, embedded)):
            yield x

    def _noise(self, model, x, embedded):
        noise = tf.random.stateless_uniform(tf.shape(embedded), model.step_seed("neftune"), -1.0, 1.0)
        mask = x.get("padding_mask", tf.ones_like(x["token_ids"]))
        size = tf.reduce_sum(tf.cast(mask, "float32"), -1)[:, None, None] * embedded.shape[-1]
        return tf.cast(self.alpha * tf.math.rsqrt(size) * noise, embedded.dtype)
