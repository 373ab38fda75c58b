"""F1 of spans from tags by word and logits."""

import keras
import tensorflow as tf

from kerasft.pipeline.tags import Scheme, spans_at


@keras.saving.register_keras_serializable("kerasft")
class SpanF1(keras.metrics.Metric):
    """The harmonic mean of precision and recall of spans, as seqeval's `f1_score(average="micro")` defines it.

    A predicted span is right if one of the same type has the same first and last word. For a text that is cut into
    windows, a span across a cut counts as two.

    Args:
        labels: sequence of str. The tags.

    Input shape: labels `(batch, length)` int, logits `(batch, length, tags)`, and `sample_weight` `(batch, length)`:
        0 where no word is.
    Example:
        >>> metric = SpanF1(["O", "B-PER", "I-PER"])
        >>> metric.update_state([[1, 2, 0]], [[[0.0, 9, 0], [0, 0, 9], [9, 0, 0]]])
        >>> float(metric.result())
        1.0
    Source: Tjong Kim Sang & De Meulder 2003, https://aclanthology.org/W03-0419, section 2.3.
    """

    def __init__(self, labels, name="f1", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.labels = list(labels)
        self.scheme = Scheme(self.labels)
        self.right, self.predicted, self.actual = (
            self.add_variable((), "zeros", "float32", name=part) for part in ("right", "predicted", "actual")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = tf.cast(y_true, "int32"), tf.argmax(y_pred, -1, "int32")
        counted = tf.ones_like(y_true, "bool") if sample_weight is None else tf.convert_to_tensor(sample_weight) > 0
        rows = tf.where(counted)[:, 0]
        (begins, types, ends), (predicted, predicted_types, predicted_ends) = (
            spans_at(self.scheme, tf.boolean_mask(tags, counted), rows) for tags in (y_true, y_pred)
        )
        right = begins & predicted & (types == predicted_types) & (ends == predicted_ends)
        for total, found in ((self.right, right), (self.predicted, predicted), (self.actual, begins)):
            total.assign_add(tf.cast(tf.math.count_nonzero(found), "float32"))

    def result(self):
        return tf.math.divide_no_nan(2 * self.right, self.predicted + self.actual)

    def get_config(self):
        return {**super().get_config(), "labels": self.labels}
