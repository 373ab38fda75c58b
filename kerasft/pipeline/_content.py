"""Which rows say the same."""

import functools
import hashlib

import numpy as np
import pandas as pd

from kerasft.pipeline._problems import brief, is_missing, origin

PATH_COLUMNS = ("image", "audio")  # A str in these is the path of a file, and the file is the content.


def content_keys(frame, columns):
    """Returns a hashable for each row, equal for rows of equal content.

    Texts are compared without blanks around them; images and sound by their bytes, also those of files.
    """
    return list(_contents(frame, columns)) if columns else [()] * len(frame)


def content_hashes(frame, columns):
    """Returns a number for each row, equal for rows of equal content: keys in little memory, `(rows,)` uint64."""
    hashes = (hashlib.blake2b(_bytes(row), digest_size=8).digest() for row in _contents(frame, columns))
    return np.fromiter((int.from_bytes(found) for found in hashes), "uint64", len(frame))


def digest(frame):
    """Returns hexadecimal digits that say which data this is: equal for the same content in the same order."""
    found = hashlib.sha256()
    for row in _contents(frame, list(frame.columns)):
        found.update(_bytes(row))
    return found.hexdigest()


def duplicates(train, validation, columns):
    """Returns a message for each row of `validation` whose content in `columns` is also in `train`."""
    known, first = np.unique(content_hashes(train, columns), return_index=True)
    places = pd.Index(known).get_indexer(content_hashes(validation, columns))
    return [
        f"{origin(validation)}, row {validation.index[row]}: same {' and '.join(columns)} as {origin(train)}, row "
        f"{train.index[first[places[row]]]}. Received: {brief(validation[columns[0]].iloc[row])}"
        for row in np.flatnonzero(places >= 0)
    ]


def conflicting(frame, columns, label):
    """Returns a message for each row whose content occurs before in the table with another label."""
    _, first, groups = np.unique(content_hashes(frame, columns), return_index=True, return_inverse=True)
    before, names, labels = first[groups], content_hashes(frame, [label]), frame[label].array
    return [
        f"{origin(frame)}, row {frame.index[row]}: same {' and '.join(columns)} as row {frame.index[before[row]]}, but "
        f"another {label}. Received: {brief(labels[row])} after {brief(labels[before[row]])}"
        for row in np.flatnonzero(names != names[before])
    ]


def _contents(frame, columns):
    """Iterates over what the rows hold in these columns, as tuples that can be compared and hashed."""
    contents = (map(functools.partial(_content, name in PATH_COLUMNS), frame[name]) for name in columns)
    return zip(*contents, strict=True)


def _bytes(row):
    return repr(row).encode(errors="surrogatepass")


def _content(is_path, value):
    if isinstance(value, str):
        return _file_content(value) if is_path else value.strip()
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).digest()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = hashlib.blake2b(np.ascontiguousarray(value).data, digest_size=16).digest()
        return value.shape, value.dtype.str, digest
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_content(is_path, item) for item in value)
    if is_missing(value):
        return None
    return value if pd.api.types.is_hashable(value) else repr(value)


def _file_content(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except (OSError, ValueError):
        return path  # `image_problems` says what is wrong with it.
