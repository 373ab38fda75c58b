"""Comma- and tab-separated files."""

import codecs
import csv
import io
import itertools
from typing import NamedTuple

import pandas as pd

from kerasft.data import _in_file
from kerasft.data.base import as_examples, check_names, existing_file
from kerasft.errors import UserError
from kerasft.pipeline.clean import brief, refuse, warn

ENDINGS = (".csv", ".tsv")
MEASURED = ("utf-8", "utf-8-sig", "ascii", "iso8859-1", "cp1252")  # Encodings in which a part of a file can be read.


def read(path, separator=None, names=None, quote='"', encoding="utf-8-sig"):
    r"""Reads a table of text as it stands: `NA`, `null` and `007` stay text, an empty cell is missing (None).

    Of a file of 64 MB and more, the cells stay there, however many it has, and are read when they are asked for.

    Args:
        path: str or path. The first line holds the column names unless `names` is given.
        separator: str or None. One character; None is a tab for `.tsv`, else a comma.
        names: list of str or None. The column names of a file without a header line.
        quote: str or None. What encloses cells that hold a separator, a line break or (doubled) itself. None for
            files that never quote, such as the `.tsv` files of GLUE, in which `"` is a plain character.
        encoding: str. A byte order mark is skipped by the default.

    Returns: pandas.DataFrame of `str` and None. A DataWarning names cells with a tab and a line break where tabs
        separate: they are several rows if quotes are plain characters.
    Raises: UserError, with file and line, for bytes that are not `encoding`, a NUL, a quote that is not closed, or a
        line with more or fewer cells than there are columns.
    Example: >>> read("train.tsv", names=["text", "label"])
    Source: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.
    """
    path = existing_file(path)
    separator = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    _check_arguments(separator, names, quote, encoding)
    style = _Style(separator, quote, encoding)
    rows = _rows(path, style)
    names = list(names or _header(path, rows))
    check_names(names, path.name)
    ragged, joined = [], []
    rows = _whole(path, _marked(path, rows, joined) if separator == "\t" else rows, names, ragged)
    if _in_file.is_large(path) and codecs.lookup(encoding).name in MEASURED:
        cells = {name: _Cell(place, style) for place, name in enumerate(names)}
        frame = _in_file.table(path, rows, cells.get, None)
    else:
        # Not str columns: pandas makes None a NaN in those, and its own idea of a header of digits or dates.
        cells = [list(row.values.values()) for row in rows]
        frame = pd.DataFrame(cells, columns=pd.Index(names, dtype=object), dtype=object)
    refuse(ragged, f"{path.name} cannot be read")
    what = "cells with a tab and a line break, which are several rows if quotes are plain characters in this file"
    warn(joined, f"{path.name} has {what}: then give quote=None, in a recipe quote: null")
    return as_examples(frame, path.name, path)


class _Style(NamedTuple):
    """How a file is written: its separator, its quote or None, its encoding."""

    separator: str
    quote: str | None
    encoding: str

    def rows(self, lines):
        """Returns the `csv.reader` of lines."""
        style = {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        return csv.reader(lines, delimiter=self.separator, strict=True, **style)


class _Cell(NamedTuple):
    """Reads a cell, by its place, in the bytes of a row."""

    place: int
    style: _Style

    def __call__(self, encoded):
        csv.field_size_limit(max(csv.field_size_limit(), len(encoded)))
        text = encoded.decode(_without_mark(self.style.encoding))
        return next(self.style.rows(io.StringIO(text, newline="")))[self.place] or None


def _header(path, rows):
    """Returns the names in the first row. Spreadsheets and pandas leave some out: such a column has its position's."""
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path.name} is empty: there is no line with column names. Received: {str(path)!r}")
    return [name or f"column {position}" for position, name in enumerate(first[-1], start=1)]


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


class _Lines:
    """Iterates over the lines of a file, and counts their bytes.

    Raises: UserError, with the line, for bytes that are not of this encoding, and for a NUL.
    """

    def __init__(self, path, encoding):
        self.path, self.encoding, self.plain = path, encoding, _without_mark(encoding)
        with open(path, "rb") as file:
            has_mark = self.plain != encoding and file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
        self.end = len(codecs.BOM_UTF8) if has_mark else 0  # Of the lines so far, in bytes.

    def __iter__(self):
        try:
            with open(self.path, encoding=self.encoding, newline="") as file:
                for number, line in enumerate(file, start=1):
                    if "\0" in line:
                        what = "text cannot hold a NUL character. Received: '\\x00'"
                        raise UserError(f"{self.path.name}, line {number}: {what}")
                    self.end += len(line.encode(self.plain))
                    yield line
        except UnicodeDecodeError:
            raise self._undecodable() from None

    def _undecodable(self):
        """Returns the error that says where: the one at hand knows only a part of the file."""
        encoded = self.path.read_bytes()
        try:
            encoded.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = encoded.count(b"\n", 0, error.start) + 1
            return UserError(
                f"{self.path.name}, line {line}: this is not {self.encoding} ({error.reason}). Save the file as UTF-8, "
                "or give its encoding={'name': 'csv', 'encoding': …}. "
                f"Received: {brief(encoded[error.start : error.start + 20])}"
            )


def _without_mark(encoding):
    """Returns the encoding of text in the middle of a file."""
    return "utf-8" if codecs.lookup(encoding).name == "utf-8-sig" else encoding


def _rows(path, style):
    """Yields the line that a row begins on, where it begins and ends in bytes, and its cells; not for blank lines."""
    # The limit is the process's and 128 KB by default; no cell can be longer than the file.
    csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size))
    lines = _Lines(path, style.encoding)
    reader = style.rows(lines)
    line, begin = 1, lines.end
    try:
        for row in reader:
            if row:
                yield line, begin, lines.end, row
            line, begin = reader.line_num + 1, lines.end
    except csv.Error as error:
        first = next(itertools.islice(_Lines(path, style.encoding), line - 1, None)).rstrip()
        raise UserError(
            f"{path.name}, line {line}: a quote {style.quote} is opened and not closed before the next "
            f"{style.separator!r} or the end of the file ({error}). Double quotes inside quotes; if quotes are plain "
            f"characters in this file, give quote=None. Received: {brief(first)}"
        ) from None


def _marked(path, rows, joined):
    """Yields the same rows; of cells with a tab and a line break, messages go to `joined`."""
    for row in rows:
        line, *_, cells = row
        found = [cell for cell in cells if "\t" in cell and ("\n" in cell or "\r" in cell)]
        joined += [f"{path.name}, line {line}. Received: {brief(cell)}" for cell in found]
        yield row


def _whole(path, rows, names, ragged):
    """Yields a `Row` for each that has as many cells as there are columns; of others, messages go to `ragged`."""
    for line, begin, end, cells in rows:
        if len(cells) == len(names):
            yield _in_file.Row(begin, end, dict(zip(names, (cell or None for cell in cells), strict=True)))
        else:
            ragged.append(
                f"{path.name}, line {line}: {len(cells)} cells, but there are {len(names)} columns "
                f"({brief(', '.join(names))}). Received: {brief(cells)}"
            )
