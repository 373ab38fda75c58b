"""Small copies of images, inside the page."""

import base64
import io

import numpy as np
from PIL import Image

from kerasft.evaluation._markup import tag

SIDE = 96  # pixels


def thumbnail(image):
    """Returns an `<img>` with the image in it as PNG, at most 96 pixels wide and high.

    Args:
        image: path, encoded bytes, or array `(height, width[, channels])` of 0 to 255.
    """
    try:
        small = _open(image)
        small.thumbnail((SIDE, SIDE))
        small = small.convert("RGB")
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        # The report is worth more than one picture in it, whose file may be gone by now.
        return "(image cannot be read)"
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return tag("img", src=source, alt="", class_="pixels" if max(small.size) < SIDE else None)


def _open(image):
    if isinstance(image, np.ndarray):
        pixels = image.astype("uint8")
        return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    return Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
