"""IDX files: MNIST, Fashion-MNIST and their like."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from kerasft.data.base import as_examples, existing, existing_file
from kerasft.errors import UserError

SPLITS = {"train": "train", "test": "t10k"}
UINT8 = 8  # The third byte of the header says what the numbers are.
MAX_GZIP_RATIO = 1032  # Deflate cannot do better, so a header that promises more is a lie.


def matches(data):
    """True for a folder that holds the images of MNIST's training or test split."""
    return isinstance(data, Path) and any(_find(data, prefix, "images", 3) for prefix in SPLITS.values())


def read(path=None, images=None, labels=None, split="train", limit=None):
    """Reads grey images and their class numbers; the images are views of one array.

    Args:
        path: str or path. A folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two
            that begin with `t10k`, each with or without `.gz`. Or give the files:
        images: str or path. An IDX file of rank 3, `.gz` or not.
        labels: str, path or None. An IDX file of rank 1; without it there is no column `label`.
        split: str. `"train"` or `"test"`: which files of the folder.
        limit: int or None. Reads only that many examples, from the start.

    Returns: pandas.DataFrame of `image` (uint8 array `(height, width)`, read-only) and `label` (int).
    Raises: UserError if a file is missing, cut or not IDX, or there are not as many labels as images.
    Source: http://yann.lecun.com/exdb/mnist/ (the format is described at the end of the page).
    """
    if (path is None) == (images is None):
        raise UserError(
            f"idx needs either path (a folder) or images (a file). Received: path={path!r}, images={images!r}"
        )
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        raise UserError(f"limit must be a whole number above 0, or None. Received: limit={limit!r}")
    if path is not None:
        images, labels = _files_of(existing(path), split)
    images = existing_file(images)
    pixels = _array(images, rank=3, limit=limit)
    columns = {"image": pd.Series(list(pixels), dtype=object)}
    if labels is not None:
        columns["label"] = _array(existing_file(labels), rank=1, limit=limit).astype(int)
        if len(columns["label"]) != len(pixels):
            raise UserError(
                f"{images.name} and its labels must have the same length. "
                f"Received: {len(pixels)} images and {len(columns['label'])} labels"
            )
    return as_examples(pd.DataFrame(columns), f"{images.absolute().parent.name}/{images.name}")


def _files_of(folder, split):
    if split not in SPLITS:
        raise UserError(f"idx has the splits train and test. Received: split={split!r}")
    files = [_find(folder, SPLITS[split], "images", 3), _find(folder, SPLITS[split], "labels", 1)]
    if None in files:
        raise UserError(
            f"{folder.name} must hold {SPLITS[split]}-images-idx3-ubyte and {SPLITS[split]}-labels-idx1-ubyte, with or "
            f"without .gz. Received: {str(folder)!r}"
        )
    return files


def _find(folder, prefix, what, rank):
    candidates = [folder / f"{prefix}-{what}-idx{rank}-ubyte{ending}" for ending in ("", ".gz")]
    return next((file for file in candidates if file.is_file()), None)


def _array(path, rank, limit):
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            count, *shape = _shape(file, path, rank)
            count = min(count, limit or count)
            encoded = file.read(count * math.prod(shape))
            is_longer = limit is None and file.read(1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path.name} is not a whole gzip file ({error}). Received: {str(path)!r}") from None
    if is_longer or len(encoded) != count * math.prod(shape):
        what = "longer" if is_longer else "shorter"
        raise UserError(f"{path.name} is {what} than its header says. Received: {(count, *shape)} in the header")
    return np.frombuffer(encoded, np.uint8).reshape(count, *shape)


def _shape(file, path, rank):
    header = file.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank or header[:4] != bytes([0, 0, UINT8, rank]):
        raise UserError(
            f"{path.name} is not an IDX file of bytes of rank {rank}: its header must begin with 00 00 08 {rank:02x}. "
            f"Received: {header[:4].hex(' ')}"
        )
    shape = struct.unpack(f">{rank}I", header[4:])
    most = path.stat().st_size * (MAX_GZIP_RATIO if path.suffix == ".gz" else 1)
    if math.prod(shape) > most:
        raise UserError(f"{path.name} is shorter than its header says. Received: {shape} in the header")
    return shape
