"""CoNLL files: a token a line with its tag, an empty line after each sentence."""

import re

import pandas as pd

from kerasft.data.base import as_examples, existing_file, read_text
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief

ENDINGS = (".conll", ".conllu", ".iob", ".iob2", ".bio")
DOCUMENT = "-DOCSTART-"  # A sentence of its own in the files of CoNLL-2003.
NUMBER = re.compile(r"([0-9]{1,9})([-.][0-9]+)?")


def read(path, tokens=None, tags=None, separator=None):
    """Reads sentences and their tags.

    Lines that begin with `#` and have not as many columns as the others are comments. Where the first column numbers
    the tokens of each sentence, lines with other numbers, such as `3-4` for two words written as one, are left out.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.
        tokens: int or None. Column of the tokens, from 0, from the right if negative; None is the first, but for a
            running number. With 0 there is none.
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
    sentences = _sentences(path, lines, separator, width)
    is_numbered = width > 2 and tokens != 0 and _are_numbered(sentences)
    tokens = int(is_numbered) if tokens is None else tokens
    tags = (tokens + 1 if is_numbered else width - 1) if tags is None else tags
    _check_columns(path, width, tokens, tags)
    rows = [
        [(columns[tokens], columns[tags]) for columns in sentence if not is_numbered or columns[0].isdecimal()]
        for sentence in sentences
    ]
    return _frame(list(filter(None, rows)), path)


def _sentences(path, lines, separator, width):
    """Returns the lines of each sentence, each a list of its columns."""
    sentences = [[]]
    for number, line in enumerate(lines, start=1):
        columns = line.split(separator)
        if not line.strip():
            sentences.append([])
        elif len(columns) == width:
            sentences[-1].append(columns)
        elif not line.startswith("#"):
            raise UserError(
                f"{path.name}, line {number}: a line must have {width} columns, as the first has. "
                f"Received: {brief(line)}"
            )
    return [sentence for sentence in sentences if sentence and DOCUMENT not in sentence[0]]


def _are_numbered(sentences):
    """Returns whether lines begin with a number, or two, if they are no comments, and single ones rise from 1 on."""
    for sentence in sentences:
        found = [NUMBER.fullmatch(columns[0]) for columns in sentence if not columns[0].startswith("#")]
        numbers = [int(number[1]) for number in found if number and not number[2]]
        if not all(found) or (found and numbers[:1] != [1]) or numbers != sorted(set(numbers)):
            return False
    return True


def _check_columns(path, width, tokens, tags):
    for name, column in (("tokens", tokens), ("tags", tags)):
        if not isinstance(column, int) or not -width <= column < width:
            raise UserError(f"{path.name} has {width} columns, from 0. Received: {name}={column!r}")


def _frame(rows, path):
    columns = {name: [[pair[i] for pair in row] for row in rows] for i, name in enumerate(("tokens", "tags"))}
    return as_examples(pd.DataFrame(columns, dtype=object), path.name, path)
