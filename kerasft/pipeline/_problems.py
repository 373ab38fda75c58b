"""Problems in data are lists of rows or messages; here they are written, refused and warned of."""

import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from kerasft.errors import UserError

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
SHOWN, WARNED = 20, 5  # Problems that an error and a warning spell out; the others are counted.


class DataWarning(UserWarning):
    """Data that can be trained on, but will make the numbers say less than they seem to."""


class Problem(NamedTuple):
    """Why a row cannot be used; as `str`, the message that says so."""

    origin: str
    row: int
    column: str
    reason: str
    received: str

    def __str__(self):
        return f"{self.origin}, row {self.row}: {self.column} {self.reason}. Received: {self.received}"

    @property
    def kind(self):
        """The reason without what is particular to this row, so that rows can be counted by it."""
        return f"{self.column} {re.split(r'[.:;] | [(]', self.reason)[0]}"


def brief(value, limit=80):
    """Returns the `repr` of any value, cut to about `limit` characters; arrays by type and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, (str, bytes)) and len(value) > limit:
        return repr(value[:limit]) + "…"
    text = repr(value)
    return text if len(text) <= limit + 2 else text[:limit] + "…"


def harmless(cell):
    """Returns a cell with an apostrophe before what a spreadsheet would run as a formula (CWE-1236).

    Source: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{cell}" if str(cell).startswith(FORMULAS) else cell


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


def row_problems(frame, column, reasons):
    """Returns a `Problem` for each row of `column` for which `reasons`, one a row, holds a reason."""
    rows = zip(frame.index, frame[column], reasons, strict=True)
    return [
        Problem(origin(frame), row, column, reason, brief(value, limit=200)) for row, value, reason in rows if reason
    ]


def is_missing(value):
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _listing(problems, what, shown):
    more = len(problems) - shown
    return "\n".join([f"{what}:", *map(str, problems[:shown]), *([f"… and {more:,} more"] if more > 0 else [])])
