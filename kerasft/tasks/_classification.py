"""What text and image classification share."""

from typing import ClassVar

import keras
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean
from kerasft.tasks.base import Task


class Classification(Task):
    """One label of a list for each example, or with `multi_label` any number of them."""

    evaluation: ClassVar[str] = "classification"
    monitor: ClassVar[tuple[str, str]] = ("val_accuracy", "max")
    target: ClassVar[str] = "label"
    has_classes: ClassVar[bool] = True

    def __init__(self, labels=None, multi_label=False, dropout=0.1, columns=None):
        if not (labels is None or isinstance(labels, (list, tuple))):
            raise UserError(f"labels must be a list of names. Received: labels={labels!r}")
        self.labels = None if labels is None else [str(label) for label in labels]
        if self.labels is not None and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UserError(f"labels must be two or more different names. Received: labels={labels!r}")
        super().__init__(dropout, columns)
        self.multi_label = multi_label

    def prepare(self, frame, with_targets=True, quarantine=None):
        frame = self._chosen(frame, with_targets)
        problems, labels = self._problems(frame), self.labels
        if with_targets:
            check = clean.multi_label_problems if self.multi_label else clean.label_problems
            labels = labels or self._inferred(frame, problems + check(frame, "label"))
            problems = problems + check(frame, "label", labels)
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        self.labels = labels  # Not before: a table that is refused must not leave its labels behind.
        return frame

    def _inferred(self, frame, problems):
        """Returns the labels of the rows without problems, or None if there are no such rows."""
        usable = clean.without(frame, problems)
        infer = clean.infer_multi_labels if self.multi_label else clean.infer_labels
        try:
            return infer(usable["label"]) if len(usable) else None
        except UserError as error:
            clean.refuse([error, *problems], f"{frame.attrs.get('origin', 'data')} cannot be used")

    def oddities(self, frame):
        content = [name for name in self.inputs if name in frame]
        return [
            (clean.conflicting(frame, content, self.target), "the same example with different labels"),
            (clean.one_sided(self.targets(frame), self.labels), "labels that cannot be learned"),
        ]

    @property
    def strata(self):
        return None if self.multi_label else self.target

    @property
    def learned(self):
        return {} if self.labels is None else {"labels": self.labels}

    def check_learned(self):
        self.num_classes  # noqa: B018

    def targets(self, frame):
        """Returns `(rows,)` int32 numbers of labels, or `(rows, classes)` float32 of 0 and 1 with `multi_label`."""
        numbers = clean.multi_label_ids if self.multi_label else clean.label_ids
        return numbers(frame, "label", self.labels)

    def loss(self):
        if self.multi_label:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self):
        if self.multi_label:
            return [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def decode(self, outputs):
        """Returns `label` (batch,) strings, `score` (batch,) and `scores` (batch, classes), probabilities.

        With `multi_label`, `label` joins the names whose score is 0.5 or more by `|`, and `score` is the highest.
        """
        names = tf.constant(self.labels)
        scores = tf.sigmoid(outputs) if self.multi_label else tf.nn.softmax(outputs)
        label = self._joined(scores, names) if self.multi_label else tf.gather(names, tf.argmax(scores, -1))
        return {"label": label, "score": tf.reduce_max(scores, -1), "scores": scores}

    def evaluation_arguments(self):
        return {"labels": self.labels, "multi_label": self.multi_label}

    def get_config(self):
        return {**super().get_config(), "labels": self.labels, "multi_label": self.multi_label}

    @staticmethod
    def _joined(scores, names):
        chosen = tf.where(scores >= 0.5, tf.strings.join([names, "|"]), "")
        return tf.strings.regex_replace(tf.strings.reduce_join(chosen, axis=-1), r"\|$", "")

    @property
    def num_classes(self):
        """Number of labels.

        Raises: UserError while they are unknown.
        """
        if self.labels is None:
            raise UserError("The labels are not known yet: give labels=[…], or call fit first. Received: labels=None")
        return len(self.labels)
