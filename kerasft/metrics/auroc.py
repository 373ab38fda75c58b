"""The exact area under the ROC curve."""

import functools

import keras
import tensorflow as tf

from kerasft import surgery
from kerasft.errors import UserError


@keras.saving.register_keras_serializable("kerasft")
class AUROC(keras.metrics.Metric):
    """The area under the ROC curve, exact: it keeps every score, where Keras's `AUC` interpolates 200 thresholds.

    It is the chance that a random positive example scores above a random negative one, a tie counting half.
    Two classes: of class 1. More: the mean over the classes of each against the rest, by softmax. `multi_label`:
    the mean over the labels. As scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`; NaN where
    that raises, when a class has no positive or no negative example. Scores are compared as float32 logits or
    log-probabilities. Under a `tf.distribute` strategy each replica keeps its share of `max_examples`.

    Args:
        num_classes: int.
        max_examples: int. Room for this many examples, those of weight 0 included.
        multi_label: bool. Labels are `(batch, num_classes)` of 0 and 1, not `(batch,)` class numbers.

    Raises: tf.errors.InvalidArgumentError on an update beyond `max_examples`; XLA cannot raise and gives NaN.
    Example:
        >>> metric = AUROC(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
        >>> float(metric.result())
        0.5
    Source: Mann & Whitney 1947; Fawcett 2006, https://doi.org/10.1016/j.patrec.2005.10.010, section 7.
    """

    def __init__(self, num_classes, max_examples=100_000, multi_label=False, name="auroc", dtype=None):
        if num_classes < 2 and not multi_label:
            raise UserError(f"num_classes must be 2 or more without multi_label. Received: num_classes={num_classes}")
        super().__init__(name=name, dtype=dtype)
        surgery.set_direction(self, "up")
        self.num_classes = num_classes
        self.max_examples = max_examples
        self.multi_label = multi_label
        self.columns = num_classes if multi_label or num_classes > 2 else 1
        self.replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.share = -(-max_examples // self.replicas)
        # Each replica fills rows of its own and leaves the others 0: the sum over the replicas is their union.
        self.rows = self.share * self.replicas
        self.scores = self.add_variable((self.rows, self.columns), "zeros", name="scores")
        self.labels = self.add_variable((self.rows, num_classes if multi_label else 1), "zeros", "int32", name="labels")
        self.row_weights = self.add_variable((self.rows,), "zeros", "float64", name="row_weights")
        self.seen = self.add_variable((), "zeros", "int32", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Keeps a batch.

        Args:
            y_true: `(batch,)` int class numbers, or `(batch, num_classes)` of 0 and 1 with `multi_label`.
            y_pred: `(batch, num_classes)` float logits.
            sample_weight: None, or `(batch,)` float, 0 or more.
        """
        scores = self._scores(tf.cast(y_pred, "float64"))
        batch = tf.shape(scores)[0]
        weights = tf.ones((batch,), "float64") if sample_weight is None else sample_weight
        labels = tf.reshape(tf.cast(y_true, "int32"), (-1, self.labels.shape[1]))
        rows = self._next_rows(batch)
        self._write(self.scores, rows, scores)
        self._write(self.labels, rows, labels)
        self._write(self.row_weights, rows, tf.reshape(weights, (-1,)))
        self.seen.assign_add(batch)

    def result(self):
        weights = tf.convert_to_tensor(self.row_weights)
        used = tf.reduce_max(tf.where(weights > 0, tf.range(self.rows) + 1, 0))
        # XLA wants sizes known beforehand, and `fit` the result at each step: sort no more than about what is there.
        sizes = [size for size in (1_000, 10_000) if size < self.rows] + [self.rows]
        smallest = tf.reduce_sum(tf.cast(used > tf.constant(sizes), "int32"))
        area = tf.switch_case(smallest, [functools.partial(self._area, size) for size in sizes])
        is_complete = tf.convert_to_tensor(self.seen) <= self.rows
        return tf.cast(tf.where(is_complete, area, float("nan")), self.dtype)

    def get_config(self):
        own = {"num_classes": self.num_classes, "max_examples": self.max_examples, "multi_label": self.multi_label}
        return {**super().get_config(), **own}

    def _area(self, size):
        """Returns the mean area over the columns, from the first `size` rows."""
        scores, labels, weights = (variable[:size] for variable in (self.scores, self.labels, self.row_weights))
        if self.columns > labels.shape[1]:
            labels = tf.one_hot(labels[:, 0], self.columns)
        return tf.reduce_mean(_areas(tf.transpose(scores), tf.transpose(labels), weights))

    def _scores(self, logits):
        """Returns `(batch, columns)` scores that order examples as their probabilities do, but never saturate."""
        if self.multi_label:
            return logits
        if self.columns == 1:
            return logits[:, 1:] - logits[:, :1]
        return tf.nn.log_softmax(logits)

    def _next_rows(self, batch):
        """Returns the numbers of the rows for a batch, behind those this replica has filled."""
        seen = tf.convert_to_tensor(self.seen)
        check = tf.debugging.assert_less_equal(
            seen + batch,
            self.share,
            message=f"AUROC keeps no more than max_examples={self.max_examples} examples ({self.share} a replica); "
            "give it a larger max_examples. Received (examples so far):",
        )
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        with tf.control_dependencies([check]):
            return (seen + tf.range(batch)) * self.replicas + replica

    @staticmethod
    def _write(variable, rows, values):
        values = tf.cast(values, variable.dtype)
        variable.assign(keras.ops.scatter_update(variable, rows[:, None], values))


def _areas(scores, labels, weights):
    """Returns the area of each row of `scores`; NaN without a positive or without a negative example.

    Args:
        scores: `(columns, examples)` float.
        labels: `(columns, examples)`, 1 for a positive example and 0 for a negative one.
        weights: `(examples,)` float64.
    """
    order = tf.argsort(scores, axis=-1)
    scores = tf.gather(scores, order, batch_dims=1)
    positive = tf.gather(tf.cast(labels, weights.dtype), order, batch_dims=1) * tf.gather(weights, order)
    negative = tf.gather(weights, order) - positive
    is_new = tf.pad(scores[:, 1:] != scores[:, :-1], ((0, 0), (1, 0)))
    tie = tf.cumsum(tf.cast(is_new, "int32"), axis=-1)
    positive, negative = _sums(positive, tie), _sums(negative, tie)
    below = tf.cumsum(negative, axis=-1, exclusive=True)
    wins = tf.reduce_sum(positive * (below + negative / 2), axis=-1)
    return wins / (tf.reduce_sum(positive, axis=-1) * tf.reduce_sum(negative, axis=-1))


def _sums(values, group):
    """Returns, for each row by itself, the sums of `values` over equal numbers of `group`; `(rows, columns)`."""
    shape = tf.shape(values)
    cells = group + tf.range(shape[0])[:, None] * shape[1]
    sums = tf.math.unsorted_segment_sum(tf.reshape(values, (-1,)), tf.reshape(cells, (-1,)), shape[0] * shape[1])
    return tf.reshape(sums, shape)
