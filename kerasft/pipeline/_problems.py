"""Problems in data are lists of messages; here they are written, refused and warned of."""

import warnings

import numpy as np
import pandas as pd

from kerasft.errors import UserError

SHOWN, WARNED = 20, 5  # Problems that an error and a warning spell out; the others are counted.


class DataWarning(UserWarning):
    """Data that can be trained on, but will make the numbers say less than they seem to."""


def brief(value, limit=80):
    """Returns the `repr` of any value, cut to about `limit` characters; arrays by type and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, (str, bytes)) and len(value) > limit:
        return repr(value[:limit]) + "…"
    text = repr(value)
    return text if len(text) <= limit + 2 else text[:limit] + "…"


def refuse(problems, what):
    """Raises one UserError with the first 20 of `problems` below the heading `what`, or does nothing if none."""
    if problems:
        raise UserError(_listing(problems, what, SHOWN))


def warn(problems, what):
    """Gives one DataWarning with the first 5 of `problems` below the heading `what`, or does nothing if none."""
    if problems:
        warnings.warn(_listing(problems, what, WARNED), DataWarning, stacklevel=2)


def origin(frame):
    return frame.attrs.get("origin", "data")


def messages(frame, column, problems):
    rows = zip(frame.index, frame[column], problems, strict=True)
    return [
        f"{origin(frame)}, row {row}: {column} {problem}. Received: {brief(value, limit=200)}"
        for row, value, problem in rows
        if problem
    ]


def is_missing(value):
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _listing(problems, what, shown):
    more = len(problems) - shown
    return "\n".join([f"{what}:", *problems[:shown], *([f"… and {more:,} more"] if more > 0 else [])])
