"""JSON Lines: an object a line."""

import codecs
import json
import math
from typing import NamedTuple

import pandas as pd

from kerasft.data import _in_file
from kerasft.data.base import as_examples, existing_file
from kerasft.errors import UserError
from kerasft.inspection import json_file
from kerasft.pipeline.clean import brief

ENDINGS = (".jsonl", ".ndjson")


def read(path):
    """Reads a file with one JSON object a line; blank lines are skipped.

    Values keep their JSON types. A key that a line lacks is missing (NaN) in its row. Of a file of 64 MB and more, the
    values stay there, however many it has, and are read when they are asked for.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.

    Returns: pandas.DataFrame, a column a key.
    Raises: UserError, with file and line, for anything that is not a JSON object with distinct keys.
    Source: https://jsonlines.org.
    """
    path = existing_file(path)
    if _in_file.is_large(path):
        return as_examples(_in_file.table(path, _rows(path), _Value, math.nan), path.name, path)
    rows = [row.values for row in _rows(path)]
    names = pd.Index(list(dict.fromkeys(name for row in rows for name in row)), dtype=object)
    # Object columns: in others pandas would make the integers of a column with a gap floats.
    return as_examples(pd.DataFrame(rows, columns=names, dtype=object), path.name, path)


class _Value(NamedTuple):
    """Reads what a line has of this name."""

    name: str

    def __call__(self, line):
        return json.loads(line).get(self.name, math.nan)


def _rows(path):
    """Iterates over the `Row`s of a file."""
    end = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            end += len(line)
            written = line.removeprefix(codecs.BOM_UTF8)
            if written.strip():
                yield _in_file.Row(end - len(written), end, _object(path, number, written))


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
