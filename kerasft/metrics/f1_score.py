"""F1 from integer labels and logits."""

import keras
from keras import ops

from kerasft.errors import UserError
from kerasft.metrics._confusion import ConfusionCounts


@keras.saving.register_keras_serializable("kerasft")
class F1Score(ConfusionCounts):
    """The harmonic mean of precision and recall, as scikit-learn's `f1_score(zero_division=0)` defines it.

    Keras's own `F1Score` takes neither integer labels nor logits, and counts a class that occurs nowhere as 0
    in the macro mean. Here that mean is over the classes that occur among labels or predictions; with
    `multi_label`, over all of them.

    Args:
        num_classes: int.
        average: `"macro"` for the mean over the classes, None for a score each, `(num_classes,)`.
        multi_label: bool. Labels `(batch, num_classes)` of 0 and 1; a class is predicted if its sigmoid is
            0.5 or more.

    Raises: UserError if `average` is neither.
    Example:
        >>> metric = F1Score(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
        >>> float(metric.result())  # both classes have 2/3
        0.6666666865348816
    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """

    def __init__(self, num_classes, average="macro", multi_label=False, name="f1_score", dtype=None):
        if average not in ("macro", None):
            raise UserError(f"average must be 'macro' or None. Received: average={average!r}")
        super().__init__(num_classes, multi_label, name=name, dtype=dtype)
        self.average = average

    def result(self):
        occurrences = self.actual + self.predicted
        scores = ops.divide_no_nan(2 * self.right, occurrences)
        if self.average is None:
            return ops.cast(scores, self.dtype)
        counted = ops.ones_like(scores) if self.multi_label else ops.cast(occurrences > 0, "float64")
        return ops.cast(ops.divide_no_nan(ops.sum(scores), ops.sum(counted)), self.dtype)

    def get_config(self):
        return {**super().get_config(), "average": self.average}
