"""Comma- and tab-separated files."""

import codecs
import csv
import io

import pandas as pd

from kerasft.data.base import as_examples, check_names, existing_file
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief, refuse

ENDINGS = (".csv", ".tsv")


def read(path, separator=None, names=None, quote='"', encoding="utf-8-sig"):
    r"""Reads a table of text as it stands: `NA`, `null` and `007` stay text, an empty cell is missing (None).

    Args:
        path: str or path. The first line holds the column names unless `names` is given.
        separator: str or None. One character; None is a tab for `.tsv`, else a comma.
        names: list of str or None. The column names of a file without a header line.
        quote: str or None. What encloses cells that hold a separator, a line break or (doubled) itself. None for
            files that never quote, such as the `.tsv` files of GLUE, in which `"` is a plain character.
        encoding: str. A byte order mark is skipped by the default.

    Returns: pandas.DataFrame of `str` and None.
    Raises: UserError, with file and line, for bytes that are not `encoding`, a NUL, a quote that is not closed, or a
        line with more or fewer cells than there are columns.
    Example: >>> read("train.tsv", names=["text", "label"])
    Source: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.
    """
    path = existing_file(path)
    separator = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    _check_arguments(separator, names, quote, encoding)
    rows = list(_rows(path, _text(path, encoding), separator, quote))
    if not rows and not names:
        raise UserError(f"{path.name} is empty: there is no line with column names. Received: {str(path)!r}")
    names = list(names or _header(rows.pop(0)[1]))
    check_names(names, path.name)
    refuse(_ragged(path, rows, names), f"{path.name} cannot be read")
    cells = [[cell or None for cell in row] for _, row in rows]
    # Not str columns: pandas makes None a NaN in those, and its own idea of a header of digits or dates.
    frame = pd.DataFrame(cells, columns=pd.Index(names, dtype=object), dtype=object)
    return as_examples(frame, path.name, path)


def _header(cells):
    """Spreadsheets and pandas leave names out: such a column is called by its position."""
    return [name or f"column {position}" for position, name in enumerate(cells, start=1)]


def _check_arguments(separator, names, quote, encoding):
    for key, value in {"separator": separator, "quote": quote}.items():
        if value is not None and (not isinstance(value, str) or len(value) != 1):
            raise UserError(f"csv needs one character as {key}. Received: {key}={value!r}")
    if names is not None and (isinstance(names, str) or not all(isinstance(name, str) for name in names)):
        raise UserError(f"csv needs a list of column names as names. Received: names={names!r}")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UserError(f"Python knows no such encoding. Received: encoding={encoding!r}") from None


def _text(path, encoding):
    encoded = path.read_bytes()
    try:
        text = encoded.decode(encoding)
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path.name}, line {line}: this is not {encoding} ({error.reason}). Save the file as UTF-8, or give its "
            f"encoding={{'name': 'csv', 'encoding': …}}. Received: {brief(encoded[error.start : error.start + 20])}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path.name}, line {line}: text cannot hold a NUL character. Received: '\\x00'")
    return text


def _rows(path, text, separator, quote):
    """Yields `(line, cells)`, where `line` is the one that the row begins on; blank lines are skipped."""
    # The limit is the process's and 128 KB by default; no cell can be longer than the file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    style = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, **style)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        begin = list(io.StringIO(text, newline=""))[line - 1].rstrip()
        raise UserError(
            f"{path.name}, line {line}: a quote {quote} is opened and not closed before the next {separator!r} or the "
            f"end of the file ({error}). Double quotes inside quotes; if quotes are plain characters in this file, "
            f"give quote=None. Received: {brief(begin)}"
        ) from None


def _ragged(path, rows, names):
    return [
        f"{path.name}, line {line}: {len(row)} cells, but there are {len(names)} columns ({brief(', '.join(names))}). "
        f"Received: {brief(row)}"
        for line, row in rows
        if len(row) != len(names)
    ]
