"""Matthews' correlation coefficient, for two classes and more."""

import keras
from keras import ops

from kerasft.metrics._confusion import ConfusionCounts


@keras.saving.register_keras_serializable("kerasft")
class MatthewsCorrelation(ConfusionCounts):
    """The correlation of labels with predictions: 1 all right, 0 no better than chance, honest for rare classes.

    Equal to scikit-learn's `matthews_corrcoef`; 0 where all labels or all predictions are of one class.

    Args:
        num_classes: int.

    Example:
        >>> metric = MatthewsCorrelation(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
        >>> float(metric.result())
        0.5
    Source: Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient, equation 8.
    """

    def __init__(self, num_classes, name="matthews_correlation", dtype=None):
        super().__init__(num_classes, name=name, dtype=dtype)

    def result(self):
        total = ops.sum(self.actual)
        covariance = ops.sum(self.right) * total - ops.sum(self.actual * self.predicted)
        deviation = ops.sqrt(_variance(self.actual) * _variance(self.predicted))
        return ops.cast(ops.divide_no_nan(covariance, deviation), self.dtype)

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "multi_label"}


def _variance(counts):
    """Returns `sum(counts) ** 2 - sum(counts ** 2)`, from differences that cannot fall below zero by rounding."""
    return ops.sum(counts * (ops.sum(counts) - counts))
