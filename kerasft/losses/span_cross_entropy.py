"""Cross-entropy of where a span begins and ends."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("kerasft")
class SpanCrossEntropy(keras.losses.Loss):
    """The mean of the cross-entropies of the first and of the last position, each among all positions of the row.

    Input shape: targets `(batch, 2)` int, logits `(batch, length, 2)`.
    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 4.2.
    """

    def __init__(self, name="span_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        logits = tf.transpose(tf.cast(y_pred, "float32"), [0, 2, 1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y_true, "int32"), logits)
        return tf.reduce_mean(losses, axis=-1)
