"""Which rows say the same."""

import hashlib

import numpy as np
import pandas as pd

from kerasft.pipeline._problems import brief, is_missing, origin

PATH_COLUMNS = ("image", "audio")  # A str in these is the path of a file, and the file is the content.


def content_keys(frame, columns):
    """Returns a hashable for each row, equal for rows of equal content.

    Texts are compared without blanks around them; images and sound by their bytes, also those of files.
    """
    keys = [[_content(value, column in PATH_COLUMNS) for value in frame[column]] for column in columns]
    return list(zip(*keys, strict=True)) if keys else [()] * len(frame)


def digest(frame):
    """Returns hexadecimal digits that say which data this is: equal for the same content in the same order."""
    found = hashlib.sha256()
    for row in content_keys(frame, list(frame.columns)):
        found.update(repr(row).encode(errors="surrogatepass"))
    return found.hexdigest()


def duplicates(train, validation, columns):
    """Returns a message for each row of `validation` whose content in `columns` is also in `train`."""
    first = dict(zip(reversed(content_keys(train, columns)), reversed(train.index), strict=True))
    received = validation[columns[0]].tolist()
    return [
        f"{origin(validation)}, row {row}: same {' and '.join(columns)} as {origin(train)}, row {first[key]}. "
        f"Received: {brief(value)}"
        for row, value, key in zip(validation.index, received, content_keys(validation, columns), strict=True)
        if key in first
    ]


def conflicting(frame, columns, label):
    """Returns a message for each row whose content occurs before in the table with another label."""
    rows, labels, first, problems = frame.index, frame[label].tolist(), {}, []
    keys = zip(content_keys(frame, columns), content_keys(frame, [label]), strict=True)
    for position, (content, name) in enumerate(keys):
        before, name_before = first.setdefault(content, (position, name))
        if name != name_before:
            problems.append(
                f"{origin(frame)}, row {rows[position]}: same {' and '.join(columns)} as row {rows[before]}, but "
                f"another {label}. Received: {brief(labels[position])} after {brief(labels[before])}"
            )
    return problems


def _content(value, is_path):
    if isinstance(value, str):
        return _file_content(value) if is_path else value.strip()
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).digest()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = hashlib.blake2b(np.ascontiguousarray(value).data, digest_size=16).digest()
        return value.shape, value.dtype.str, digest
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_content(item, is_path) for item in value)
    if is_missing(value):
        return None
    return value if pd.api.types.is_hashable(value) else repr(value)


def _file_content(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except (OSError, ValueError):
        return path  # `image_problems` says what is wrong with it.
