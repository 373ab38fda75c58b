"""Tokens of large tables on the disk: what was tokenized once is read by the next run, and not held in memory."""

import collections
import contextlib
import hashlib
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_text as tf_text

from kerasft import __version__, cache

LEAST = 5_000_000  # Characters of a table below which it is as fast to tokenize it again.
PART = 10_000  # Texts that are hashed at once.
BY_TOKEN = ("token_ids", "segment_ids", "targets")  # Arrays with an entry for each token; they may be large.
NAMES = ("token_ids", "segment_ids", "lengths")


def tokens(preprocessor, columns, parts, names=NAMES, how=None):
    """Returns the arrays that `parts` makes, joined, by name; `offsets` in place of `lengths`.

    Those of a large table are written to the cache as they are made, or read if they are there.

    Args:
        preprocessor: TextPreprocessor. columns: sequence of sequences of str, or of what `repr` tells apart.
        parts: function that iterates over dicts of arrays, those of some rows after the other.
        names: tuple of str. What the dicts hold.
        how: what the arrays depend on beside preprocessor and columns, told apart by `repr`.
    """
    found = None if _is_small(columns) else _cached(_key(preprocessor, columns, how), parts, names)
    return _finished(found or _joined(parts))


def _cached(key, parts, names):
    """Returns the arrays of a key, after writing them if need be, or None if the disk is full or read only."""
    folder = cache.folder() / "tokens"
    found = _read(folder, key, names)
    if found is None:
        with contextlib.suppress(OSError):
            _write(folder, key, parts())
            found = _read(folder, key, names)
    return found


def _is_small(columns):
    lengths = (len(_text(value)) for column in columns for value in column)
    return all(total < LEAST for total in itertools.accumulate(lengths))


def _finished(arrays):
    offsets = np.concatenate([[0], np.cumsum(arrays.pop("lengths"), dtype="int64")])
    return {**arrays, "offsets": offsets}


def _key(preprocessor, columns, how):
    """Returns what stands for all that tokens depend on: the vocabulary, how texts are packed, and the texts."""
    tokenizer, what = preprocessor.tokenizer, [__version__, tf_text.__version__, how]
    for layer in (preprocessor, tokenizer):
        config = {name: value for name, value in layer.get_config().items() if name not in ("name", "tokenizer")}
        what += [type(layer).__qualname__, config]
    found = hashlib.sha256(repr(what).encode())
    with tempfile.TemporaryDirectory() as assets:
        tokenizer.save_assets(assets)
        for path in sorted(Path(assets).rglob("*")):
            found.update(path.read_bytes())
    for column in columns:
        for start in range(0, len(column), PART):
            part = [_text(value) for value in column[start : start + PART]]
            found.update(repr([len(text) for text in part]).encode() + "".join(part).encode())
    return found.hexdigest()[:32]


def _text(value):
    return value if isinstance(value, str) else repr(value)


def _joined(parts):
    """Returns the arrays of all parts by name, in memory."""
    made = list(parts())
    return {name: np.concatenate([part[name] for part in made]) for name in made[0]}


def _read(folder, key, names):
    """Returns the arrays of a key, mapped into memory if they are large, or None unless they are there and whole."""
    found = {}
    for name in names:
        try:
            found[name] = np.load(
                folder / f"{key}-{name}.npy", mmap_mode="r" if name in BY_TOKEN else None, allow_pickle=False
            )
            os.utime(folder / f"{key}-{name}.npy")
        except (OSError, ValueError, EOFError):
            return None
    count = found["lengths"].sum()
    return found if all(len(found[name]) == count for name in names if name in BY_TOKEN) else None


def _write(folder, key, parts):
    """Writes arrays part by part. Raises OSError if there is no room."""
    folder.mkdir(parents=True, exist_ok=True)
    files, counts, size = {}, collections.Counter(), 0
    with contextlib.ExitStack() as stack:
        for part in parts:
            size += sum(array.nbytes for array in part.values())
            cache.make_room(folder, size)
            for name, array in part.items():
                if name not in files:
                    files[name] = stack.enter_context(cache.written(folder / f"{key}-{name}.npy"))
                    _write_header(files[name], array.dtype, 0)
                files[name].write(array.tobytes())
                counts[name] += len(array)
        for name, array in part.items():
            files[name].seek(0)
            _write_header(files[name], array.dtype, counts[name])


def _write_header(file, dtype, count):
    """Writes the header of an array of so many entries; its size does not depend on their number."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
