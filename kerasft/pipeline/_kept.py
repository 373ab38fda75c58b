"""Tokens of large tables on the disk: what was tokenized once is read by the next run, and not held in memory."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_text as tf_text

from kerasft import __version__, cache

LEAST = 5_000_000  # Characters of a table below which it is as fast to tokenize it again.
PART = 10_000  # Texts that are hashed at once.


def tokens(preprocessor, columns, make):
    """Returns the arrays by name that `make()` does, of a large table from the cache if they are there.

    Args:
        preprocessor: TextPreprocessor. columns: sequence of lists of str. On both the arrays depend, and on no more.
    """
    if sum(len(text) for column in columns for text in column) < LEAST:
        return make()
    folder, key = cache.folder() / "tokens", _key(preprocessor, columns)
    found = _read(folder, key)
    if found is None:
        made = make()
        try:
            _write(folder, key, made)
        except OSError:  # A disk that is full or read only.
            return made
        found = _read(folder, key) or made
    return found


def _key(preprocessor, columns):
    """Returns what stands for all that tokens depend on: the vocabulary, how texts are packed, and the texts."""
    tokenizer, what = preprocessor.tokenizer, [__version__, tf_text.__version__]
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
            part = column[start : start + PART]
            found.update(repr([len(text) for text in part]).encode() + "".join(part).encode())
    return found.hexdigest()[:32]


def _read(folder, key):
    """Returns the arrays of a key, mapped into memory, or None unless they are there and whole."""
    found = {}
    for name in ("token_ids", "segment_ids", "offsets"):
        try:
            found[name] = np.load(folder / f"{key}-{name}.npy", mmap_mode="r", allow_pickle=False)
            os.utime(folder / f"{key}-{name}.npy")
        except (OSError, ValueError, EOFError):
            return None
    found["offsets"] = np.array(found["offsets"])
    is_whole = len(found["token_ids"]) == len(found["segment_ids"]) == found["offsets"][-1]
    return found if is_whole else None


def _write(folder, key, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    cache.make_room(folder, sum(array.nbytes for array in arrays.values()))
    for name, array in arrays.items():
        with cache.written(folder / f"{key}-{name}.npy") as file:
            np.save(file, array)
