"""More loss for rows of rare classes."""

from typing import ClassVar

import numpy as np
import tensorflow as tf

from kerasft.checks import check_below_one
from kerasft.errors import UserError
from kerasft.objectives.base import Objective


class ClassBalanced(Objective):
    """Weighs the loss of each row by how rare its class is among the training examples.

    A class of `n` examples has the weight `(1 - beta) / (1 - beta ** n)`, the inverse of its effective number of
    examples; the weights of the classes that occur have the mean 1. `beta` near 1 weighs nearly by `1 / n`, 0 not at
    all.

    Args:
        beta: float, 0 or more and below 1.

    Raises: UserError if it is out of range, or for a task with several labels a row.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=["class_balanced"])
    Source: Cui et al. 2019, https://arxiv.org/abs/1901.05555, section 4.
    """

    name: ClassVar[str] = "class_balanced"
    needs_classes = True
    takes_features = True

    def __init__(self, beta=0.999):
        check_below_one("class_balanced", "beta", beta)
        self.beta = beta
        self.weights = None

    def prepare(self, tuner, frame):
        targets = np.asarray(tuner.task.targets(frame))
        if targets.ndim != 1:
            raise UserError("class_balanced needs one label a row. Received: a task with several")
        counts = np.bincount(targets, minlength=tuner.task.num_classes)
        # A class without examples is never asked for; 1 keeps its weight finite.
        weights = (1 - self.beta) / (1 - self.beta ** np.maximum(counts, 1).astype(float))
        self.weights = (weights / weights[counts > 0].mean()).astype("float32")

    def loss(self, inner, y, y_pred):
        return tf.gather(tf.constant(self.weights), tf.cast(y, "int32")) * inner(y, y_pred)
