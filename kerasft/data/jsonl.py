"""JSON Lines: an object a line."""

import pandas as pd

from kerasft.data.base import as_examples, existing_file
from kerasft.errors import UserError
from kerasft.inspection import json_file
from kerasft.pipeline.clean import brief

ENDINGS = (".jsonl", ".ndjson")


def read(path):
    """Reads a file with one JSON object a line; blank lines are skipped.

    Values keep their JSON types. A key that a line lacks is missing (NaN) in its row.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.

    Returns: pandas.DataFrame, a column a key.
    Raises: UserError, with file and line, for anything that is not a JSON object with distinct keys.
    Source: https://jsonlines.org.
    """
    path = existing_file(path)
    with open(path, "rb") as file:
        lines = enumerate((line.removeprefix(b"\xef\xbb\xbf") for line in file), start=1)
        rows = [_object(path, number, line) for number, line in lines if line.strip()]
    names = pd.Index(list(dict.fromkeys(name for row in rows for name in row)), dtype=object)
    # Object columns: in others pandas would make the integers of a column with a gap floats.
    return as_examples(pd.DataFrame(rows, columns=names, dtype=object), path.name, path)


def _object(path, number, line):
    try:
        value = json_file.loads(line)
    except ValueError as error:
        problem = str(error)
    else:
        if isinstance(value, dict):
            return value
        problem = f"it is a {type(value).__name__}"
    raise UserError(
        f"{path.name}, line {number}: a line must be one JSON object, but {problem}. "
        f"Received: {brief(line.decode(errors='replace').strip())}"
    )
