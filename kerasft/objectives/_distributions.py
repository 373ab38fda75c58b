"""What a classifier's logits say, whether labels exclude each other (softmax) or not (one sigmoid a label)."""

import tensorflow as tf


def is_multi_label(y, logits):
    """True if the targets are one number for each label, as the logits are, rather than the label's number."""
    return len(y.shape) == len(logits.shape)


def cross_entropy(targets, logits):
    """Returns `(rows,)` cross-entropy with targets that are probabilities of classes, `(rows, classes)`."""
    return tf.nn.softmax_cross_entropy_with_logits(targets, tf.cast(logits, "float32"))


def divergence(first, second, multi_label=False):
    """Returns the Kullback-Leibler divergence of each row, `(rows,)`: how much `second` differs from `first`, logits.

    With `multi_label`, the mean over the labels' own. Source: Kullback & Leibler 1951,
    https://doi.org/10.1214/aoms/1177729694.
    """
    first, second = tf.cast(first, "float32"), tf.cast(second, "float32")
    if multi_label:
        yes = tf.sigmoid(first) * (tf.math.log_sigmoid(first) - tf.math.log_sigmoid(second))
        no = tf.sigmoid(-first) * (tf.math.log_sigmoid(-first) - tf.math.log_sigmoid(-second))
        return tf.reduce_mean(yes + no, -1)
    return tf.reduce_sum(tf.nn.softmax(first) * (tf.nn.log_softmax(first) - tf.nn.log_softmax(second)), -1)
