"""The counts of a confusion matrix that scores need, kept as they stream by."""

import keras
from keras import ops

from kerasft import surgery


class ConfusionCounts(keras.metrics.Metric):
    """Counts for each class how often it was right, how often it occurred and how often it was predicted.

    These are the diagonal and the two margins of the confusion matrix, all that F1 and Matthews' coefficient
    need: 3 numbers a class, where the matrix has as many as there are classes. They are float64, so that
    counts stay exact beyond 2 ** 24 examples and the coefficient's differences of products lose nothing.

    Args:
        num_classes: int.
        multi_label: bool. Whether an example has any number of the classes, each of its own logit.
    """

    def __init__(self, num_classes, multi_label=False, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        surgery.set_direction(self, "up")
        self.num_classes = num_classes
        self.multi_label = multi_label
        for attribute in ("right", "actual", "predicted"):
            variable = self.add_variable((num_classes,), "zeros", dtype="float64", name=attribute)
            setattr(self, attribute, variable)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch.

        Args:
            y_true: `(batch,)` int class numbers, or `(batch, num_classes)` of 0 and 1 with `multi_label`.
            y_pred: `(batch, num_classes)` float logits.
            sample_weight: None, or `(batch,)` float, 0 or more. Examples of weight 0 do not exist.
        """
        if self.multi_label:
            actual = ops.cast(y_true, "float64")
            predicted = ops.cast(ops.greater_equal(y_pred, 0), "float64")  # a logit of 0 is a probability of 0.5
        else:
            actual = ops.one_hot(ops.reshape(y_true, (-1,)), self.num_classes, dtype="float64")
            predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self.num_classes, dtype="float64")
        weights = ops.ones_like(actual[:, 0]) if sample_weight is None else ops.cast(sample_weight, "float64")
        weights = ops.reshape(weights, (1, -1))
        self.right.assign_add(ops.matmul(weights, actual * predicted)[0])
        self.actual.assign_add(ops.matmul(weights, actual)[0])
        self.predicted.assign_add(ops.matmul(weights, predicted)[0])

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "multi_label": self.multi_label}
