"""Each text nearer to its own partner than to those of the others."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("kerasft")
class InfoNce(keras.losses.Loss):
    """Cross-entropy of each text's partner among all partners of the batch, by cosine similarity.

    A partner or a wrong one that is the same text as the right partner does not count against it.

    Args:
        temperature: float above 0. Of the similarities; the lower, the more the nearest wrong partners count.
        sizes: sequence of int or None. The loss is the mean over vectors that are cut to each of these sizes, so that
            cut vectors are good ones too (Matryoshka); None is the whole vector.

    Input shape: targets `(batch, 1)` int, equal for equal partners; vectors `(2 * batch, width)`, first the texts, then
        the partners. With a partner each that is wrong, `(batch, 2)` and `(3 * batch, width)`.
    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Henderson et al. 2017,
        https://arxiv.org/abs/1705.00652, section 4; Kusupati et al. 2022, https://arxiv.org/abs/2205.13147.
    """

    def __init__(self, temperature=0.05, sizes=None, name="info_nce", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = temperature
        self.sizes = sizes

    def call(self, y_true, y_pred):
        found = [self._of(y_true, vectors) for vectors in cut(y_pred, self.sizes)]
        return tf.add_n(found) / len(found)

    def _of(self, y_true, vectors):
        rows = tf.shape(y_true)[0]
        texts, candidates = vectors[:rows], vectors[rows:]
        logits = tf.matmul(texts, candidates, transpose_b=True) / self.temperature
        is_right = y_true[:, :1] == tf.reshape(tf.transpose(y_true), [1, -1])
        is_own = tf.eye(rows, tf.shape(candidates)[0], dtype="bool")
        logits = tf.where(is_right & ~is_own, logits.dtype.min, logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(rows), logits)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "sizes": self.sizes}


def cut(vectors, sizes):
    """Returns the vectors cut to each size, of length 1 again, as a list."""
    vectors = tf.cast(vectors, "float32")
    return [tf.math.l2_normalize(vectors[:, :size], axis=1) for size in sizes or [None]]
