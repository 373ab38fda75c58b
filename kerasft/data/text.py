"""Plain text files: a row a line, or a paragraph."""

import pandas as pd

from kerasft.data.base import as_examples, existing_file, read_text
from kerasft.errors import UserError

ENDINGS = (".txt",)
PARTS = ("line", "paragraph", "file")


def read(path, part="paragraph"):
    """Reads texts.

    Args:
        path: str or path. UTF-8, with or without a byte order mark.
        part: str. What a row is: a `"line"`; a `"paragraph"`, between lines that are blank; or the whole `"file"`.

    Returns: pandas.DataFrame of `text`. Blank lines are no rows.
    Raises: UserError if the file is not UTF-8.
    """
    if part not in PARTS:
        raise UserError(f"part must be one of {', '.join(PARTS)}. Received: part={part!r}")
    path = existing_file(path)
    text = read_text(path)
    if part == "paragraph":
        rows = _paragraphs(text.split("\n"))
    else:
        rows = text.split("\n") if part == "line" else [text]
    return as_examples(pd.DataFrame({"text": [row for row in rows if row.strip()]}, dtype=object), path.name, path)


def _paragraphs(lines):
    rows = [[]]
    for line in lines:
        if line.strip():
            rows[-1].append(line)
        elif rows[-1]:
            rows.append([])
    return ["\n".join(row) for row in rows]
