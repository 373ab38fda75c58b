"""The cores of a TPU."""

import tensorflow as tf

from kerasft.errors import UserError


def strategy(address=""):
    """Connects to a TPU and returns its `tf.distribute.TPUStrategy`.

    Args:
        address: str. Of the TPU worker; empty on a Cloud TPU VM and in Colab.

    Raises: UserError if there is no TPU.
    Source: https://www.tensorflow.org/guide/tpu
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
    except ValueError as error:
        raise UserError(f"No TPU found ({error}). Received: distribution='tpu', address={address!r}") from error
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
