"""A folder of images, with a folder for each label."""

import os
from pathlib import Path

import pandas as pd

from kerasft.data.base import as_examples, existing
from kerasft.errors import UserError
from kerasft.pipeline.clean import warn

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


def matches(data):
    """True for a folder that has an image in one of its folders."""
    return isinstance(data, Path) and any(_is_image(name) for _, names in _folders(data) for name in names)


def read(path):
    """Lists `<path>/<label>/<image>`; nothing is opened, and folders inside a label's folder are not entered.

    Hidden files are skipped, others that are not images (by their ending) are named in a warning.

    Args:
        path: str or path.

    Returns: pandas.DataFrame of `image` (path, str) and `label` (folder name), sorted by both.
    Raises: UserError if no folder in it holds an image.
    """
    root = existing(path)
    folders = list(_folders(root)) if root.is_dir() else []
    rows = [(str(root / label / name), label) for label, names in folders for name in names if _is_image(name)]
    if not rows:
        raise UserError(
            f"{root.name} must hold a folder for each label, with images in it: {root.name}/<label>/<image>.jpg "
            f"({', '.join(IMAGE_ENDINGS)}). Received: {str(root)!r}"
        )
    warn(_skipped(root, folders), f"{root.name}: not read")
    return as_examples(pd.DataFrame(rows, columns=["image", "label"], dtype=object), root.name)


def _folders(root):
    """Yields `(label, file names)` in order. One level only, so that links which form a loop do no harm."""
    if not root.is_dir():
        return
    for label in sorted(os.listdir(root)):
        if not label.startswith(".") and os.path.isdir(root / label):
            yield label, sorted(name for name in os.listdir(root / label) if not name.startswith("."))


def _is_image(name):
    return name.lower().endswith(IMAGE_ENDINGS)


def _skipped(root, folders):
    loose = [f"{name} lies in no label's folder" for name in sorted(os.listdir(root)) if _is_loose(root, name)]
    empty = [f"{label} holds no image" for label, names in folders if not any(map(_is_image, names))]
    others = [f"{label}/{name} is not an image" for label, names in folders for name in names if not _is_image(name)]
    return loose + empty + others


def _is_loose(root, name):
    return _is_image(name) and not name.startswith(".") and not os.path.isdir(root / name)
