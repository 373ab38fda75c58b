"""Several devices of one machine, each with a copy of the weights."""

import tensorflow as tf


def strategy(devices=None):
    """Returns a `tf.distribute.MirroredStrategy`.

    Args:
        devices: list of str or None. Such as `["GPU:0", "GPU:1"]`; None is all GPUs.

    Source: https://www.tensorflow.org/guide/distributed_training#mirroredstrategy
    """
    return tf.distribute.MirroredStrategy(devices)
