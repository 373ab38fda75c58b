"""The cores of a TPU."""

import tensorflow as tf

from kerasft.errors import UserError


def strategy(address=None):
    """Connects to a TPU and returns its `tf.distribute.TPUStrategy`.

    Args:
        address: str or None. Of the TPU worker; `"local"` on a Cloud TPU VM, which has the TPU itself, empty in Colab;
            None for the one of these that fits.

    Raises: UserError if there is no TPU.
    Source: https://www.tensorflow.org/guide/tpu; of `"local"`, the documentation of `TPUClusterResolver`.
    """
    if address is None:
        address = "local" if tf.config.list_logical_devices("TPU") else ""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
    except ValueError as error:
        raise UserError(f"No TPU found ({error}). Received: distribution='tpu', address={address!r}") from error
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
