"""Cosine similarity of two texts as near as can be to how alike they are said to be."""

import keras
import tensorflow as tf

from kerasft.losses.info_nce import cut


@keras.saving.register_keras_serializable("kerasft")
class CosineError(keras.losses.Loss):
    """The squared difference of cosine similarity and target.

    Args:
        sizes: sequence of int or None. As of `InfoNce`.

    Input shape: targets `(batch, 1)` float, 0 to 1; vectors `(2 * batch, width)`, first the texts, then their partners.
    Source: Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084, section 3.
    """

    def __init__(self, sizes=None, name="cosine_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sizes = sizes

    def call(self, y_true, y_pred):
        targets = tf.cast(tf.reshape(y_true, [-1]), "float32")
        found = []
        for vectors in cut(y_pred, self.sizes):
            texts, partners = tf.split(vectors, 2)
            found.append(tf.square(tf.reduce_sum(texts * partners, axis=1) - targets))
        return tf.add_n(found) / len(found)

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes}
