"""Turns whatever `fit(data=…)` was given into one table of raw examples.

A source is a file of this folder that holds `read(...) -> pandas.DataFrame`, and what it is chosen by:
`ENDINGS = (".csv",)` for files, `matches(data) -> bool` for folders (a `Path`) and objects. Its table comes from
`as_examples`: rows numbered from 1, and in `attrs["origin"]` the name that messages call the data by. Columns
are raw: text is `str`; an image is a path (`str`), encoded `bytes`, or an array `(height, width[, channels])`.
"""

import functools
import importlib
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from kerasft import registry
from kerasft.errors import UserError, nearest
from kerasft.pipeline.clean import brief

# What pandas, joblib and NumPy pickle objects into.
PICKLES = (".pkl", ".pickle", ".joblib", ".npy", ".npz")
FORMS = "a path, a {'name': source, …} dict, a pandas DataFrame, a list of dicts, (x, y) arrays or a tf.data.Dataset"


def load(data):
    """Reads raw examples from a file, a folder or an object.

    Args:
        data: str or path (its ending picks the source; a folder is looked into), a `{"name": source, …}` dict with
            the arguments of that source's `read`, a pandas DataFrame, a list of dicts, a tuple `(x, y)`, or a
            finite `tf.data.Dataset` of dicts or of `(x, y)`.

    Returns: pandas.DataFrame, a row an example, numbered from 1, `attrs["origin"]` set.
    Raises: UserError if no source or more than one knows `data`, if the file is missing or broken, or if it holds
        no examples.
    Example: >>> load("reviews.csv"); load({"name": "csv", "path": "reviews.txt", "separator": ";"})
    """
    frame = _read_named(data) if isinstance(data, dict) else _read_recognised(data)
    if not len(frame):
        raise UserError(f"{frame.attrs['origin']} holds no examples. Received: {_described(data)}")
    return frame


def as_examples(frame, origin, path=None):
    """Numbers the rows from 1 and names the table.

    Args:
        frame: pandas.DataFrame. It is not changed.
        origin: str. What messages call it, such as `"reviews.csv"`.
        path: path or None. The file it was read from: relative image paths in it start at that file's folder.

    Returns: pandas.DataFrame.
    """
    frame = frame.set_axis(pd.RangeIndex(1, len(frame) + 1), axis="index")
    frame.attrs = {"origin": origin} | ({"folder": str(Path(path).parent)} if path else {})
    return frame


def existing(path):
    """Returns `path` as a `Path`. Raises UserError, with the nearest name in that folder, if nothing is there."""
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"A path must be a string. Received: {path!r}")
    path = Path(path).expanduser()
    if not os.path.exists(path):  # Unlike Path.exists, never raises, however odd the name.
        beside = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        raise UserError(f"There is no file {str(path)!r}.{nearest(path.name, beside)} Received: {str(path)!r}")
    return path


def existing_file(path):
    """Returns `path` as a `Path`. Raises UserError if there is no such file, or a folder in its place."""
    path = existing(path)
    if path.is_dir():
        raise UserError(f"A file is needed, and {path.name} is a folder. Received: {str(path)!r}")
    return path


def warn_of_names(texts):
    """Warns if a text, or one of a list, is the name of a data file that is there."""
    for text in [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else ():
        if isinstance(text, str) and text.lower().endswith(_all_endings()) and os.path.isfile(text):
            warnings.warn(
                f"This text is the name of a file, which is not read: give pathlib.Path({text!r}), or in a shell "
                f"--data {text}, for its rows. Received: {text!r}",
                stacklevel=4,
            )
            return


def read_text(path):
    """Returns the text of an existing file. Raises UserError if it is not UTF-8, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8. Received: byte {error.object[error.start]:#04x}") from error


def check_names(names, origin):
    """Raises UserError if a column name occurs twice: one of the two would be lost without a word."""
    names = list(names)
    if len(set(names)) < len(names):
        twice = sorted({repr(name) for name in names if names.count(name) > 1})
        raise UserError(f"{origin} has columns of the same name: {', '.join(twice)}. Received: {brief(names)}")


def from_elements(elements, origin):
    """Makes a table of the dicts or `(x, y)` pairs of NumPy values that a `tf.data.Dataset` iterates over."""
    rows = [row if isinstance(row, dict) else _pair(row, origin) for row in elements]
    rows = [{name: plain(value) for name, value in row.items()} for row in rows]
    return as_examples(pd.DataFrame(rows, dtype=object), origin)


def plain(value):
    """Turns what TensorFlow and NumPy hand out into Python values; arrays of numbers stay arrays.

    Bytes that are UTF-8 without a NUL become `str`. Other bytes, such as encoded images, stay `bytes`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return _text_or_bytes(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSU":
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def column_of(first):
    """Returns what a column of values like `first` is called in `(x, y)` data: "text", "image" or None."""
    if isinstance(first, str):
        return "text"
    is_image = isinstance(first, bytes) or (isinstance(first, np.ndarray) and first.ndim in (2, 3))
    return "image" if is_image else None


def _read_named(data):
    if "name" not in data:
        raise UserError(f"A dict of data names its source: {{'name': 'csv', …}}. Received: {brief(data)}")
    arguments = {key: value for key, value in data.items() if key != "name"}
    read = registry.find("data", data["name"], "read")
    registry.raise_if(registry.argument_errors(read, arguments, where=f"data/{data['name']}"))
    return read(**arguments)


def _read_recognised(data):
    sources = _sources()
    if isinstance(data, (str, os.PathLike)):
        data = existing(data)
    if isinstance(data, Path) and not data.is_dir():
        found = [name for name, source in sources.items() if data.name.lower().endswith(_endings(source))]
    else:
        found = [name for name, source in sources.items() if getattr(source, "matches", _never)(data)]
    if len(found) != 1:
        raise UserError(_not_recognised(data, found, sources))
    return sources[found[0]].read(data)


def _not_recognised(data, found, sources):
    received = f"Received: {_described(data)}"
    if found:
        return (
            f"More than one source reads this: {', '.join(found)}. Say which: {{'name': '{found[0]}', …}}. {received}"
        )
    if not isinstance(data, Path):
        return f"Data must be {FORMS}. {received}"
    if data.is_dir():
        inside = ", ".join(sorted(os.listdir(data))[:5]) or "nothing"
        return (
            f"No source knows the folder {data.name!r}; it holds: {inside}. A folder of images is "
            f"<folder>/<label>/<image>.jpg. Others are named: {{'name': source, …}} with one of {', '.join(sources)}. "
            + received
        )
    if data.name.lower().endswith(PICKLES):
        return f"{data.name} may be a pickle, which runs code when it is read; save it as CSV or Parquet. {received}"
    endings = sorted(ending for source in sources.values() for ending in _endings(source))
    return (
        f"{data.name} has none of the endings that pick a source: {', '.join(endings)}."
        f"{nearest(data.suffix, endings)} Or name it: {{'name': 'csv', 'path': …}}. {received}"
    )


@functools.cache
def _all_endings():
    return tuple(ending for source in _sources().values() for ending in _endings(source))


def _sources():
    return {name: importlib.import_module(f"kerasft.data.{name}") for name in registry.names("data")}


def _endings(source):
    return getattr(source, "ENDINGS", ())


def _never(data):
    return False


def _described(data):
    return brief(data) if isinstance(data, (str, dict)) else brief(str(data)) if isinstance(data, Path) else _kind(data)


def _kind(data):
    first = f" of {type(data[0]).__name__}" if isinstance(data, (list, tuple)) and data else ""
    return f"{type(data).__name__}{first}"


def _pair(row, origin):
    x, y = row if isinstance(row, tuple) and len(row) == 2 else (None, 0)
    column = column_of(plain(x))
    if column is None or np.ndim(y):
        raise UserError(
            f"{origin} must give dicts, or (x, y) where x is one string or image and y one label. If it is batched, "
            f"call .unbatch(). Received: {brief(row)}"
        )
    return {column: x, "label": y}


def _text_or_bytes(value):
    if b"\0" in value:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
