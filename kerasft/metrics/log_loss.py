"""The mean cross entropy as a metric."""

import keras
from keras import ops

from kerasft import surgery


@keras.saving.register_keras_serializable("kerasft")
class LogLoss(keras.metrics.Mean):
    """The mean cross entropy of `softmax(logits)`, or with `multi_label` of the sigmoid over all cells.

    What scikit-learn's `log_loss` gives, but from logits: a probability that rounds to 0 is not clipped.
    Unlike the loss that `fit` shows it holds no regularisation and no objective, and it is computed and
    added up in float64 also under mixed precision.

    Args:
        multi_label: bool. Labels are `(batch, classes)` of 0 and 1, not `(batch,)` class numbers.

    Example:
        >>> metric = LogLoss()
        >>> metric.update_state([0, 1], [[0.0, 0.0], [0.0, 0.0]])
        >>> float(metric.result())  # log(2)
        0.6931471805599453
    """

    def __init__(self, multi_label=False, name="log_loss", dtype="float64"):
        super().__init__(name=name, dtype=dtype)
        surgery.set_direction(self, "down")
        self.multi_label = multi_label

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch.

        Args:
            y_true: `(batch,)` int, or `(batch, classes)` of 0 and 1 with `multi_label`.
            y_pred: `(batch, classes)` float logits.
            sample_weight: None, or `(batch,)` float, 0 or more.
        """
        logits = ops.cast(y_pred, "float64")
        if self.multi_label:
            losses = ops.mean(ops.binary_crossentropy(ops.cast(y_true, "float64"), logits, from_logits=True), axis=-1)
        else:
            losses = ops.sparse_categorical_crossentropy(ops.reshape(y_true, (-1,)), logits, from_logits=True)
        weights = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        super().update_state(losses, sample_weight=weights)

    def get_config(self):
        return {**super().get_config(), "multi_label": self.multi_label}
