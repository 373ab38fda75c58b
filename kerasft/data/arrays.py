"""A pair `(x, y)` of arrays or lists, as `keras.Model.fit` takes it."""

import numpy as np
import pandas as pd

from kerasft.data.base import as_examples, column_of, plain
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief


def matches(data):
    """True for a tuple of two."""
    return isinstance(data, tuple) and len(data) == 2


def read(data):
    """Makes the columns `text` or `image`, and `label`; images are views of `x`, not copies.

    Args:
        data: tuple `(x, y)`. `x` holds strings; or images: an array `(n, height, width)` or
            `(n, height, width, channels)` of uint8, or of floats 0 to 255, a list of such images, or a list of
            encoded ones (bytes). `y` holds a label for each: `(n,)` or `(n, 1)`, or a list of lists of labels.

    Returns: pandas.DataFrame.
    Raises: UserError if `x` is neither text nor images, or `y` has another length or more than one column.
    Example: >>> read((["good", "bad"], [1, 0])); read(keras.datasets.fashion_mnist.load_data()[0])
    """
    if not matches(data):
        raise UserError(f"arrays reads a tuple (x, y). Received: {type(data).__name__}")
    x, y = _values(data[0], "x"), _labels(data[1])
    if len(x) != len(y):
        raise UserError(f"x and y must have the same length. Received: {len(x)} and {len(y)}")
    column = column_of(x[0]) if len(x) else "text"
    if column is None:
        raise UserError(
            "x must hold strings, encoded images (bytes) or image arrays: (n, height, width) or "
            f"(n, height, width, channels). Received: {type(x[0]).__name__} of shape {np.shape(x[0])}"
        )
    return as_examples(pd.DataFrame({column: _column(x), "label": _column(y)}), "(x, y)")


def _values(values, name):
    values = values if isinstance(values, (list, tuple)) else np.asarray(values)
    if not np.iterable(values):
        raise UserError(f"{name} must be an array or a list. Received: {brief(values)}")
    return [plain(value) for value in values]


def _labels(y):
    if isinstance(y, (list, tuple)):
        return _values(y, "y")
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # keras.datasets.cifar10 gives (n, 1).
    if y.ndim != 1:
        raise UserError(
            "y must hold one label a row, shape (n,) or (n, 1); for one-hot rows give y.argmax(axis=-1); for several "
            "labels a row, a list of lists of their names. "
            f"Received: shape {y.shape}"
        )
    return _values(y, "y")


def _column(values):
    """Returns an object array of `values`; NumPy alone would stack images of one size into a copy."""
    column = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        column[index] = value
    return column
