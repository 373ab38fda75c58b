"""A `tf.data.Dataset` made elsewhere."""

import sys

from kerasft.data.base import from_elements
from kerasft.errors import UserError


def matches(data):
    """True for a `tf.data.Dataset`; does not import TensorFlow to find out."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(data, tensorflow.data.Dataset)


def read(data):
    """Reads a finite, unbatched dataset into memory.

    Args:
        data: tf.data.Dataset of dicts, or of `(x, y)` where `x` is a string, an encoded image or an image
            `(height, width[, channels])` (column `text` or `image`) and `y` a label. Strings that are not UTF-8
            stay bytes, as encoded images do.

    Returns: pandas.DataFrame.
    Raises: UserError if it repeats forever or gives something else.
    """
    if not matches(data):
        raise UserError(f"tf_data reads a tf.data.Dataset. Received: {type(data).__name__}")
    import tensorflow as tf

    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(
            "The tf.data.Dataset never ends: remove .repeat() or add .take(n). Received: infinite cardinality"
        )
    return from_elements(data.as_numpy_iterator(), "tf.data.Dataset")
