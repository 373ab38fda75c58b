"""Tables in memory."""

import pandas as pd

from kerasft.data.base import as_examples, check_names
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief


def matches(data):
    """True for a pandas DataFrame and for a list of dicts."""
    return isinstance(data, pd.DataFrame) or (isinstance(data, list) and all(isinstance(row, dict) for row in data))


def read(data):
    """Takes a pandas DataFrame, or a list of dicts, as it is; it is not changed.

    Rows are numbered from 1 whatever the index was. A table that `kerasft.data` made before keeps its
    numbers, so that messages still point into the file.

    Args:
        data: pandas.DataFrame, or list of dict. A key that a dict lacks is missing (NaN) in its row.

    Returns: pandas.DataFrame.
    Raises: UserError if two columns have the same name, or `data` is neither.
    """
    if not matches(data):
        raise UserError(f"frame reads a pandas DataFrame or a list of dicts. Received: {brief(data)}")
    if isinstance(data, list):
        names = pd.Index(list(dict.fromkeys(name for row in data for name in row)), dtype=object)
        return as_examples(pd.DataFrame(data, columns=names, dtype=object), "list of dicts")
    check_names(data.columns, "DataFrame")
    return data if "origin" in data.attrs else as_examples(data, "DataFrame")
