"""Checks that images can be read, before an epoch finds out."""

import concurrent.futures
import os
import re
import stat
from pathlib import Path

import numpy as np

from kerasft.pipeline import _headers
from kerasft.pipeline._problems import is_missing, row_problems

MAX_PIXELS = 100_000_000  # 300 MB once decoded. A few bytes can claim more than any machine has.
MAX_BYTES = 500_000_000  # No image of so many pixels is larger.
IMAGES_A_TASK = 64

_TENSORFLOW_NOISE = re.compile(r"\{\{.*?\}\} | \[Op:\w+\]")


def image_problems(frame, column, progress=None):
    """Returns a `Problem` for each row of `column` that is not a readable image.

    Files and bytes are decoded as training decodes them (`tf.io.decode_image` with three channels, first frame
    of an animation), in threads. Arrays are `(height, width)` or `(height, width, 1, 3 or 4)`, whole numbers from 0 to
    255.

    Args:
        frame: pandas.DataFrame.
        column: str. Holds paths (str), encoded images (bytes) and arrays.
        progress: callable or None. Called as `progress(done, total)` every few images.
    """
    values, found = frame[column].tolist(), []
    tasks = [values[start : start + IMAGES_A_TASK] for start in range(0, len(values), IMAGES_A_TASK)]
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for reasons in pool.map(lambda task: [_image_problem(value) for value in task], tasks):
            found += reasons
            if progress:
                progress(len(found), len(values))
    if _are_scaled(values):
        found = [_scale_problem(value) or reason for value, reason in zip(values, found, strict=True)]
    return row_problems(frame, column, found)


def _image_problem(value):
    if isinstance(value, np.ndarray):
        return _array_problem(value)
    if isinstance(value, str):
        return _file_problem(value)
    if isinstance(value, bytes):
        return _encoded_problem(value)
    return "is missing" if is_missing(value) else "is not a path (str), an encoded image (bytes) or an array"


def _file_problem(path):
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return "is a folder"
        if not stat.S_ISREG(found.st_mode):  # To read a pipe or a device may never end.
            return "is no file"
        if found.st_size > MAX_BYTES:
            return f"has {found.st_size:,} bytes, more than {MAX_BYTES:,}"
        return _encoded_problem(Path(path).read_bytes())
    except FileNotFoundError:
        return "is missing: there is no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def _encoded_problem(encoded):
    import tensorflow as tf

    if not encoded:
        return "is empty: 0 bytes"
    if _headers.is_jpeg_xl(encoded):
        return "is JPEG XL, which does not say how large it is: save it as PNG or JPEG"
    try:
        if (pixels := _headers.pixels(encoded)) > MAX_PIXELS:
            return f"has {pixels:,} pixels, more than {MAX_PIXELS:,}"
        tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        return f"cannot be decoded ({_TENSORFLOW_NOISE.sub('', error.message)})"
    return None


def _array_problem(array):
    if array.ndim not in (2, 3):
        return f"has {array.ndim} axes, not (height, width) or (height, width, channels)"
    if not array.size:
        return "is empty"
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4):
        return f"has {array.shape[-1]} channels, not 1, 3 or 4"
    if array.dtype.kind not in "uif":
        return "does not hold numbers"
    if array.dtype == np.uint8:
        return None
    low, high = array.min(), array.max()
    if np.isnan(low):
        return "holds NaN"
    if not (low >= 0 and high <= 255):
        return f"holds values outside 0 to 255: {low} to {high}"
    is_whole = array.dtype.kind in "ui" or np.array_equal(array, np.round(array))
    return None if is_whole else "holds fractions; round it to whole numbers, 0 to 255"


def _are_scaled(values):
    """Images scaled to 0 to 1 would be as good as black to a model that is fed 0 to 255, and nothing would say so."""
    floats = [value.max() for value in values if _is_float(value)]
    return any(high > 0 for high in floats) and not any(high > 1 for high in floats)


def _scale_problem(value):
    is_scaled = _is_float(value) and 0 <= value.min() <= value.max() <= 1
    return "has no pixel above 1, but 0 to 255 is expected: multiply by 255" if is_scaled else None


def _is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0
