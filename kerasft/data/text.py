"""Plain text files of any size: a row a line, or a paragraph."""

import array
import codecs
import itertools

import numpy as np
import pandas as pd

from kerasft.data._in_file import FileValues, OpenFile
from kerasft.data.base import as_examples, existing_file
from kerasft.errors import UserError

ENDINGS = (".txt",)
# Lines that are one row after the other have the same of these; a line is its begin, its end and whether it is blank.
PARTS = {"line": lambda line: line[0], "paragraph": lambda line: line[2], "file": lambda line: None}


def read(path, part="paragraph"):
    """Reads where the texts of a file are. The texts stay there, so the file may be larger than the memory.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.
        part: str. What a row is: a `"line"`; a `"paragraph"`, between lines that are blank; or the whole `"file"`.

    Returns: pandas.DataFrame of `text`. Blank lines are no rows.
    Raises: UserError if the file is not UTF-8.
    """
    if part not in PARTS:
        raise UserError(f"part must be one of {', '.join(PARTS)}. Received: part={part!r}")
    path = existing_file(path)
    begins, ends = _places(path, part)
    texts = FileValues(OpenFile(path), _text, begins, ends, np.zeros(len(begins), bool))
    return as_examples(pd.DataFrame({"text": texts}), path.name, path)


def _places(path, part):
    """Returns where the texts of a file begin and end, in bytes, as two arrays of int64."""
    found = array.array("q")
    for _, lines in itertools.groupby(_lines(path), PARTS[part]):
        begins, ends, are_blank = zip(*lines, strict=True)
        if not all(are_blank):
            found.extend((begins[0], ends[-1]))
    return np.array(found, "int64").reshape(-1, 2).T


def _lines(path):
    """Iterates over begin and end of each line, in bytes and without what ends it, and whether it is blank."""
    begin = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                is_blank = not line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                what = f"{path.name}, line {number:,}, is not UTF-8"
                raise UserError(f"{what}. Received: byte {error.object[error.start]:#04x}") from error
            mark = len(codecs.BOM_UTF8) if number == 1 and line.startswith(codecs.BOM_UTF8) else 0
            yield begin + mark, begin + len(line.removesuffix(b"\n").removesuffix(b"\r")), is_blank
            begin += len(line)


def _text(encoded):
    """Returns the text of bytes; lines end with `\\n`, however they do in the file."""
    text = encoded.decode()
    return text.replace("\r\n", "\n") if "\r" in text else text
