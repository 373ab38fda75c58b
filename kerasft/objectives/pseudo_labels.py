"""What the model is sure of, in examples without labels."""

from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasft import taps
from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.objectives.base import Objective
from kerasft.pipeline import batching

BATCHES = 16  # Of rows drawn at once, of which one of rows of like length is taken, to save padding.


class PseudoLabels(Objective):
    """Trains on unlabelled examples too, with the class that the model gives them, where it is sure enough.

    Each batch comes with as many unlabelled rows. Their class is predicted without dropout; of those whose probability
    is `threshold` or more, the loss with dropout is added: the outputs shall be consistent, however units are dropped.

    Args:
        data: path, `{"name": source, …}` dict or what else `fit` takes; labels, if there are any, are not read.
        threshold: float, 0 to 1.
        weight: float, 0 or more. Of the unlabelled rows' loss.

    Raises: UserError for arguments out of range, unusable data, or a task with several labels a row.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "pseudo_labels", "data": "more.csv"}])
    Source: Lee 2013, "Pseudo-Label"; threshold and consistency: Sohn et al. 2020, https://arxiv.org/abs/2001.07685,
        section 2.2, with dropout in the place of augmentation.
    """

    name: ClassVar[str] = "pseudo_labels"
    needs_classes = True
    needs_rows: ClassVar[bool] = True
    takes_features = True

    def __init__(self, data, threshold=0.95, weight=1.0):
        check("pseudo_labels", "threshold", threshold, 0, 1)
        check("pseudo_labels", "weight", weight, 0)
        self.data = data
        self.threshold = threshold
        self.weight = weight

    def prepare(self, tuner, frame):
        if np.asarray(tuner.task.targets(frame)).ndim != 1:
            raise UserError("pseudo_labels needs one label a row. Received: a task with several")
        self.extra = Unlabelled(tuner.unlabelled(self.data), tuner.arguments["seed"])

    def __call__(self, model, x, y, y_pred, extra=None):
        with taps.silenced():
            sure = tf.stop_gradient(tf.nn.softmax(tf.cast(model(extra, training=False), "float32")))
            outputs = model(extra, training=True)
        labels, is_sure = tf.argmax(sure, -1), tf.reduce_max(sure, -1) >= self.threshold
        losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
        return self.weight * tf.reduce_mean(losses * tf.cast(is_sure, "float32"))


class Unlabelled:
    """As many unlabelled rows as a batch has, of like length: a function of the seed and of the batch's rows."""

    def __init__(self, examples, seed):
        self.examples = examples
        self.seed = seed
        self.widths = None if examples.lengths is None else batching.choose_widths(examples)
        self.signature = examples.signature
        self.finish = examples.finish

    def gather(self, rows):
        random = np.random.default_rng([self.seed, *rows])
        if self.widths is None:
            return self.examples.gather(random.choice(len(self.examples), len(rows)), None)
        drawn = random.choice(len(self.examples), BATCHES * len(rows))
        by_length = drawn[np.argsort(self.examples.lengths[drawn], kind="stable")]
        chosen = by_length.reshape(BATCHES, len(rows))[random.integers(BATCHES)]
        return self.examples.gather(chosen, batching.width(self.examples.lengths[chosen], self.widths))
