"""CoNLL files: a token a line with its tag, an empty line after each sentence."""

import pandas as pd

from kerasft.data.base import as_examples, existing_file, read_text
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief

ENDINGS = (".conll", ".conllu", ".iob", ".iob2", ".bio")
DOCUMENT = "-DOCSTART-"  # A sentence of its own in the files of CoNLL-2003.


def read(path, tokens=None, tags=None, separator=None):
    """Reads sentences and their tags.

    Lines that begin with `#` and have not as many columns as the others are comments. Where the first column numbers
    the tokens of each sentence, lines with other numbers, such as `3-4` for two words written as one, are left out.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.
        tokens: int or None. Column of the tokens, from 0, from the right if negative; None is the first, but for a
            running number.
        tags: int or None. Column of the tags; None is that after the tokens if there is a running number, or the last.
        separator: str or None. Between columns; None is a tab where there are tabs, or else any white space.

    Returns: pandas.DataFrame of `tokens` and `tags`, each a list of str, a row a sentence.
    Raises: UserError, with file and line, if a line has other columns than the first.
    Source: https://aclanthology.org/W03-0419 (CoNLL-2003), https://universaldependencies.org/format.html (CoNLL-U).
    """
    path = existing_file(path)
    lines = read_text(path).splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if separator is None and "\t" in first:
        separator = "\t"
    width = max(len(first.split(separator)), 1)
    is_numbered = width > 2 and first.split(separator)[0] == "1"
    tokens = int(is_numbered) if tokens is None else tokens
    tags = (tokens + 1 if is_numbered else width - 1) if tags is None else tags
    _check_columns(path, width, tokens, tags)
    rows = [[]]
    for number, line in enumerate(lines, start=1):
        columns = line.split(separator)
        if not line.strip():
            rows.append([])
        elif len(columns) == width:
            if not is_numbered or columns[0].isdecimal():
                rows[-1].append((columns[tokens], columns[tags]))
        elif not line.startswith("#"):
            raise UserError(
                f"{path.name}, line {number}: a line must have {width} columns, as the first has. "
                f"Received: {brief(line)}"
            )
    return _frame([row for row in rows if row and row[0][0] != DOCUMENT], path)


def _check_columns(path, width, tokens, tags):
    for name, column in (("tokens", tokens), ("tags", tags)):
        if not isinstance(column, int) or not -width <= column < width:
            raise UserError(f"{path.name} has {width} columns, from 0. Received: {name}={column!r}")


def _frame(rows, path):
    columns = {name: [[pair[i] for pair in row] for row in rows] for i, name in enumerate(("tokens", "tags"))}
    return as_examples(pd.DataFrame(columns, dtype=object), path.name, path)
