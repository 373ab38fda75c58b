"""What text and image classification share."""

import numbers
from typing import ClassVar

import keras
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean
from kerasft.tasks.base import Task

POOLINGS = ("mean", "first", "last", "pooled")


@keras.saving.register_keras_serializable("kerasft")
class ClassificationHead(keras.layers.Layer):
    """Pools a backbone's features, drops out, and projects to one logit a class.

    Args:
        num_classes: int.
        reads: names of the features it takes.
        pooling: str. `"mean"` over the tokens or pixels that are no padding; `"first"` or `"last"` such token;
            `"pooled"`, the backbone's own pooled output.
        dropout: float from 0 to 1.

    Input shape: `{"tokens": (batch, length, width), "mask": (batch, length)}` or
        `{"pooled": (batch, width)}` or `{"image": (batch, height, width, channels)}` or
        `{"image": (batch, patches, channels)}`; `reads` says which. Or what `pool` made of it, `(batch, width)`.
    Output shape: `(batch, num_classes)` float32 logits.
    """

    def __init__(self, num_classes, reads, pooling="mean", dropout=0.1, name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.reads = tuple(reads)
        self.pooling = pooling
        self.rate = dropout
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.logits = keras.layers.Dense(num_classes, kernel_initializer=initializer, dtype="float32", name="logits")

    def build(self, input_shape):
        self.logits.build((None, input_shape[self.reads[0]][-1]))
        self.built = True

    def call(self, features, training=False):
        pooled = self.pool(features) if isinstance(features, dict) else features
        return self.logits(self.dropout(pooled, training=training))

    def pool(self, features):
        """Returns one vector an example, `(batch, width)`; nothing of it learns."""
        if "image" in features:
            return keras.ops.mean(features["image"], axis=range(1, len(features["image"].shape) - 1))
        if self.pooling == "pooled":
            return features["pooled"]
        tokens = features["tokens"]
        if self.pooling == "first":
            return tokens[:, 0]
        if self.pooling == "last":
            last = keras.ops.sum(keras.ops.cast(features["mask"], "int32"), axis=1) - 1
            return tf.gather(tokens, last, batch_dims=1)  # `keras.ops.take_along_axis` fails on a batch of 0 rows.
        mask = keras.ops.cast(features["mask"], tokens.dtype)[..., None]
        return keras.ops.sum(tokens * mask, axis=1) / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)

    def compute_output_shape(self, input_shape):
        return (input_shape[self.reads[0]][0], self.num_classes)

    def get_config(self):
        own = {"num_classes": self.num_classes, "reads": self.reads, "pooling": self.pooling, "dropout": self.rate}
        return {**super().get_config(), **own}


class Classification(Task):
    """One label of a list for each example, or with `multi_label` any number of them."""

    evaluation: ClassVar[str] = "classification"
    monitor: ClassVar[tuple[str, str]] = ("val_accuracy", "max")

    def __init__(self, labels=None, multi_label=False, dropout=0.1, columns=None):
        if not (labels is None or isinstance(labels, (list, tuple))):
            raise UserError(f"labels must be a list of names. Received: labels={labels!r}")
        self.labels = None if labels is None else [str(label) for label in labels]
        if self.labels is not None and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UserError(f"labels must be two or more different names. Received: labels={labels!r}")
        if not (isinstance(dropout, numbers.Real) and 0 <= dropout < 1):
            raise UserError(f"dropout must be 0 or more and below 1. Received: dropout={dropout!r}")
        if not isinstance(columns, (dict, type(None))):
            raise UserError(f"columns must be a dict such as {{'text': 'review'}}. Received: columns={columns!r}")
        self.multi_label = multi_label
        self.dropout = dropout
        self.columns = dict(columns or {})

    def prepare(self, frame, with_targets=True, quarantine=None):
        wanted, columns = self._wanted(with_targets), self.columns
        if not with_targets:  # Inputs given in memory have our names, and no labels.
            columns = {ours: theirs for ours, theirs in columns.items() if ours in wanted and theirs in frame}
        frame = clean.choose_columns(frame, wanted, columns)
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
        own = ("labels", "multi_label", "dropout", "columns")
        return {name: getattr(self, name) for name in own}

    def _wanted(self, with_targets):
        raise NotImplementedError

    def _problems(self, frame):
        raise NotImplementedError

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
