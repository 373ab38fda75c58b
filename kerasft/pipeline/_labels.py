"""Names of classes, and the numbers that a loss reads instead."""

import re

import numpy as np

from kerasft.errors import UserError, nearest
from kerasft.pipeline._problems import SHOWN, brief, is_missing, origin, refuse

MAX_CLASSES = 1_000

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|inf)")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def infer_labels(values):
    """Returns the distinct labels as str, numbers in numeric order, others sorted; missing ones are left out.

    Args:
        values: iterable of one label a row: str, int, bool, or float if whole.

    Raises: UserError if they do not look like classes: lists, fractions, a single class, more than 1,000 classes,
        or no class that occurs twice.
    """
    values = list(values)
    if any(isinstance(value, (list, tuple, set, dict, np.ndarray)) for value in values):
        raise UserError(f"One label a row is needed, not a list: use multi-label classification. {_samples(values)}")
    return _classes([_label_name(value) for value in values], values)


def infer_multi_labels(values):
    """Returns the distinct labels of rows that each hold several (see `multi_label_ids`), as `infer_labels` does."""
    values = list(values)
    names = _names_of_rows(values, range(1, len(values) + 1))
    return _classes([name for row in names for name in row], values)


def label_ids(frame, column, labels):
    """Returns the position in `labels` of each row's label, int32 `(rows,)`.

    Where no label is itself a whole number, the numbers 0 to `len(labels) - 1` count as positions, so that
    `labels=["negative", "positive"]` gives names to a column of 0 and 1.

    Raises: UserError that lists each row whose label is missing or not in `labels`.
    """
    ids_of = _ids_by_name(labels)
    names = [_label_name(value) for value in frame[column]]
    ids = np.array([ids_of.get(name, -1) for name in names], dtype=np.int32)
    unknown = [[name] if known < 0 else [] for name, known in zip(names, ids, strict=True)]
    _refuse_unknown(frame, column, unknown, labels)
    return ids


def multi_label_ids(frame, column, labels):
    """Returns which of `labels` each row has, float32 `(rows, len(labels))` of 0 and 1.

    A row holds a list, tuple, set or array of labels, or a string that joins them with `|` (`"|"` alone: none).

    Raises: UserError that lists each row whose labels are missing or not in `labels`, or if a row names one twice.
    """
    ids_of = _ids_by_name(labels)
    names = _names_of_rows(frame[column], frame.index)
    _refuse_unknown(frame, column, [[name for name in row if name not in ids_of] for row in names], labels)
    hot = np.zeros((len(frame), len(labels)), dtype=np.float32)
    for row, found in zip(hot, names, strict=True):
        row[[ids_of[name] for name in found]] = 1.0
    return hot


def _label_name(value):
    """Returns the label as str, or None if it is missing."""
    if isinstance(value, str):
        return value.strip() or None
    if is_missing(value):
        return None
    if isinstance(value, (float, np.floating)) and value.is_integer():
        return str(int(value))  # pandas makes floats of integers as soon as one is missing.
    return str(value)


def _names_of_rows(values, rows):
    """Returns the labels of each row; zeros and ones, which would pass for names, always repeat one another."""
    names = [_label_names(value) for value in values]
    for row, value, found in zip(rows, values, names, strict=True):
        if len(set(found)) < len(found):
            raise UserError(
                f"Row {row} names a label twice. A row lists the names of its labels; it is not a 0 or 1 for each "
                f"label there is. Received: {brief(list(value))}"
            )
    return names


def _label_names(value):
    if isinstance(value, str) and value.strip():
        return list(filter(None, map(_label_name, value.split("|"))))
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [_label_name(item) for item in value]
    return [_label_name(value)]


def _classes(mentions, values):
    mentions = [name for name in mentions if name is not None]
    names = sorted(set(mentions))
    is_number = all(map(_NUMBER.fullmatch, names))
    problem = (
        (not names and "every label is missing")
        or (len(names) == 1 and f"there is only one class, {names[0]!r}, and at least two are needed")
        or (len(names) > MAX_CLASSES and f"there are {len(names):,} different labels, more than {MAX_CLASSES:,}")
        or (len(names) == len(mentions) and "no label occurs twice")
        or (is_number and not all(float(name).is_integer() for name in names) and "the labels are fractions")
    )
    if problem:
        raise UserError(
            f"These do not look like the labels of classes: {problem}. Is it the right column, and the right task "
            f"(numbers are predicted by regression)? If it is, give labels=[…]. {_samples(values)}"
        )
    return sorted(names, key=float) if is_number else names


def _samples(values):
    return f"Received: {brief(values[:5])}"


def _ids_by_name(labels):
    names = [_label_name(label) for label in labels]
    ids_of = {name: index for index, name in enumerate(names)}
    if len(ids_of) < len(names) or None in ids_of:
        raise UserError(f"labels must be distinct and not empty. Received: labels={list(labels)!r}")
    if not any(map(_INTEGER.fullmatch, names)):
        ids_of |= {str(index): index for index in range(len(names))}
    return ids_of


def _refuse_unknown(frame, column, unknown, labels):
    """Refuses the rows for which `unknown` holds names that are no labels, None for a missing one."""
    allowed = f"The labels are: {', '.join(map(str, labels[:SHOWN]))}{', …' if len(labels) > SHOWN else ''}"
    problems = []
    for row, value, names in zip(frame.index, frame[column], unknown, strict=True):
        if names:
            # Looking for the nearest name takes long, and no more than the first are shown.
            hint = nearest(names[0], labels) if names[0] is not None and len(problems) < SHOWN else ""
            problem = (
                "is missing" if names[0] is None else f"{brief(names[0])} is not one of the labels.{hint} {allowed}"
            )
            problems.append(f"{origin(frame)}, row {row}: {column} {problem}. Received: {brief(value)}")
    refuse(problems, f"{origin(frame)}: rows without a usable {column}")
