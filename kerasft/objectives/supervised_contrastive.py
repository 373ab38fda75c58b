"""Examples of one class near to each other, before the last layer."""

import contextlib
import threading
from typing import ClassVar

import numpy as np
import tensorflow as tf

from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.objectives.base import Objective
from kerasft.taps import tap


class SupervisedContrastive(Objective):
    """Also pulls together what the head makes of examples of one class, and apart what it makes of others.

    What is compared are the pooled vectors, made to length 1, of all pairs of a batch (on each replica by itself). Made
    for few examples: each is learned from with every other.

    Args:
        temperature: float above 0. The lower, the more the nearest wrong examples count.
        weight: float, 0 or more. Of what is added; the paper's share of 0.9 is a weight of 9.

    Raises: UserError for arguments out of range, several labels a row, or a head that does not pool.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=["supervised_contrastive"])
    Source: Khosla et al. 2020, https://arxiv.org/abs/2004.11362, equation 2; in fine-tuning: Gunel et al. 2021,
        https://arxiv.org/abs/2011.01403, equations 1 to 3.
    """

    name: ClassVar[str] = "supervised_contrastive"
    rows_apart: ClassVar[bool] = False
    needs_classes = True
    needs_rows: ClassVar[bool] = True
    takes_features = True

    def __init__(self, temperature=0.3, weight=1.0):
        check("supervised_contrastive", "temperature", temperature, 0, low_is_allowed=False)
        check("supervised_contrastive", "weight", weight, 0)
        self.temperature = temperature
        self.weight = weight
        self.local = threading.local()

    def prepare(self, tuner, frame):
        if np.asarray(tuner.task.targets(frame)).ndim != 1:
            raise UserError("supervised_contrastive needs one label a row. Received: a task with several")

    def attach(self, model):
        dropout = getattr(model.head, "dropout", None)
        if dropout is None:
            raise UserError(f"supervised_contrastive needs a head that projects. Received: {type(model.head).__name__}")
        self.tap = tap(dropout)

    @contextlib.contextmanager
    def forward(self, model, x, y):
        with self.tap.reading() as self.local.pooled:
            yield x

    def __call__(self, model, x, y, y_pred, extra=None):
        vectors = tf.math.l2_normalize(tf.cast(self.local.pooled[0], "float32"), axis=1)
        return self.weight * contrast(vectors, tf.reshape(y, [-1]), self.temperature)


def contrast(vectors, labels, temperature):
    """Returns for each vector how unlikely those of its class are among all others, `(rows,)`; 0 without any.

    Args:
        vectors: `(rows, width)` of length 1. labels: `(rows,)`. temperature: float.
    """
    logits = tf.matmul(vectors, vectors, transpose_b=True) / temperature
    is_self = tf.eye(tf.shape(labels)[0], dtype="bool")
    chances = tf.nn.log_softmax(tf.where(is_self, logits.dtype.min, logits))
    is_like = tf.cast((labels[:, None] == labels) & ~is_self, "float32")
    return -tf.math.divide_no_nan(tf.reduce_sum(is_like * chances, axis=1), tf.reduce_sum(is_like, axis=1))
