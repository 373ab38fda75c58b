"""Numbers as tables hold them: of any type, or written out."""

import math
import numbers as kinds

import numpy as np

from kerasft.pipeline._problems import is_missing, row_problems


def numbers(frame, column):
    """Returns a column of checked numbers as float64 `(rows,)`."""
    return np.array([float(value) for value in frame[column]], "float64")


def number_problems(frame, column):
    """Returns a `Problem` for each row that has no number, or one that is not finite."""
    return row_problems(frame, column, map(_reason, frame[column]))


def _reason(value):
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return "is missing"
    is_number = isinstance(value, (kinds.Real, str)) and not isinstance(value, (bool, np.bool_))
    try:
        number = float(value) if is_number else None
    except ValueError:  # Text that is no number, such as 3,5: decimals have a point.
        number = None
    if number is None:
        return "is not a number"
    return None if math.isfinite(number) else "is not finite"
