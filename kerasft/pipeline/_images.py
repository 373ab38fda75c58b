"""Checks that images can be read, before an epoch finds out."""

import concurrent.futures
import io
import os
import re
import struct
from pathlib import Path

import numpy as np

from kerasft.pipeline._problems import brief, is_missing, messages, origin

MAX_PIXELS = 100_000_000  # 300 MB once decoded. A few bytes of PNG can claim more than any machine has.
IMAGES_A_TASK = 64

_TENSORFLOW_NOISE = re.compile(r"\{\{.*?\}\} | \[Op:\w+\]")


def image_problems(frame, column, progress=None):
    """Returns a message for each row of `column` that is not a readable image.

    Files and bytes are decoded as training decodes them (`tf.io.decode_image` with three channels, first frame
    of an animation), in threads. Arrays are `(height, width)` or `(height, width, 1, 3 or 4)`, 0 to 255.

    Args:
        frame: pandas.DataFrame.
        column: str. Holds paths (str), encoded images (bytes) and arrays.
        progress: callable or None. Called as `progress(done, total)` every few images.
    """
    values, found = frame[column].tolist(), []
    tasks = [values[start : start + IMAGES_A_TASK] for start in range(0, len(values), IMAGES_A_TASK)]
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for problems in pool.map(lambda task: [_image_problem(value) for value in task], tasks):
            found += problems
            if progress:
                progress(len(found), len(values))
    return messages(frame, column, found) or _scale_problem(frame, column)


def _image_problem(value):
    if isinstance(value, np.ndarray):
        return _array_problem(value)
    if isinstance(value, str):
        return _file_problem(value)
    if isinstance(value, bytes):
        return _encoded_problem(value)
    return "is missing" if is_missing(value) else "is not a path (str), an encoded image (bytes) or an array"


def _file_problem(path):
    if os.path.isdir(path):
        return "is a folder"
    try:
        return _encoded_problem(Path(path).read_bytes())
    except FileNotFoundError:
        return "is missing: there is no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def _encoded_problem(encoded):
    import tensorflow as tf

    if not encoded:
        return "is empty: 0 bytes"
    try:
        if (pixels := _pixels(encoded)) > MAX_PIXELS:
            return f"has {pixels:,} pixels, more than {MAX_PIXELS:,}"
        tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        return f"cannot be decoded ({_TENSORFLOW_NOISE.sub('', error.message)})"
    return None


def _pixels(encoded):
    """Returns what a header claims, before memory is taken for it; 0 for formats that cannot inflate so."""
    import tensorflow as tf

    if encoded.startswith(b"\x89PNG\r\n\x1a\n") and len(encoded) >= 24:
        width, height = struct.unpack(">II", encoded[16:24])
        return width * height
    if encoded.startswith(b"\xff\xd8\xff"):
        height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy().tolist()
        return width * height
    return _pixels_of_all_frames(encoded) if encoded.startswith((b"GIF8", b"RIFF")) else 0


def _pixels_of_all_frames(encoded):
    """Returns what a GIF or WebP claims: TensorFlow takes memory for all frames, also where it returns the first."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.width * image.height * getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        return Image.MAX_IMAGE_PIXELS * 2
    except (OSError, ValueError, SyntaxError, struct.error, EOFError):
        return 0  # TensorFlow will say what is wrong with it.


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
    if low >= 0 and high <= 255:
        return None
    return "holds NaN" if np.isnan(low) else f"holds values outside 0 to 255: {low} to {high}"


def _scale_problem(frame, column):
    """Images scaled to 0 to 1 would be as good as black to a model that is fed 0 to 255, and nothing would say so."""
    floats = [value for value in frame[column] if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    if any(array.max() > 1 for array in floats) or not any(array.max() > 0 for array in floats):
        return []
    return [
        f"{origin(frame)}: no pixel of {column} is above 1, but 0 to 255 is expected: multiply by 255. "
        f"Received: {brief(floats[0])}, values {floats[0].min()} to {floats[0].max()}"
    ]
