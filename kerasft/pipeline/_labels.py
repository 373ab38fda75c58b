"""Names of classes, and the numbers that a loss reads instead."""

import re

import numpy as np

from kerasft.errors import UserError, nearest
from kerasft.pipeline._problems import SHOWN, brief, is_missing, origin, refuse, row_problems
from kerasft.pipeline._texts import NO_LIST, has_brackets, written_list

MAX_CLASSES = 1_000

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|inf)")
_ROW_OF_LABELS = "A row lists the names of its labels; it is not a 0 or 1 for each label there is"
_LISTS = (list, tuple, set, frozenset, dict, np.ndarray)


def infer_labels(values):
    """Returns the distinct labels as str, numbers in numeric order, others sorted; missing ones are left out.

    Args:
        values: iterable of one label a row: str, int, bool, or float if whole.

    Raises: UserError if they do not look like classes: lists, fractions, one number written in two ways, a single
        class, more than 1,000 classes, or no class that occurs twice.
    """
    values = list(values)
    if any(isinstance(value, _LISTS) for value in values):
        raise UserError(f"One label a row is needed, not a list: use multi-label classification. {_samples(values)}")
    return _classes([_label_name(value) for value in values], values)


def infer_multi_labels(values):
    """Returns the distinct labels of rows that each hold several (see `multi_label_ids`), as `infer_labels` does.

    Raises: UserError, further, if all rows have the same labels, as zeros and ones have that pass for names.
    """
    values = list(values)
    names = [_label_names(value) for value in values]
    labels = _classes([name for row in names for name in row], values)
    if len(set(map(frozenset, names))) == 1:
        raise UserError(
            f"Every row has the same labels, {', '.join(labels)}, so there is nothing to learn. {_ROW_OF_LABELS}. "
            f"{_samples(values)}"
        )
    return labels


def label_ids(frame, column, labels):
    """Returns the position in `labels` of each row's label, int32 `(rows,)`.

    Where no label is itself a number, the numbers 0 to `len(labels) - 1` count as positions, so that
    `labels=["negative", "positive"]` gives names to a column of 0 and 1.

    Raises: UserError that lists each row whose label is missing or not in `labels`.
    """
    refuse(label_problems(frame, column, labels), f"{origin(frame)}: rows without a usable {column}")
    ids_of = _ids_by_name(labels)
    return np.array([ids_of[_label_name(value)] for value in frame[column]], dtype=np.int32)


def multi_label_ids(frame, column, labels):
    """Returns which of `labels` each row has, float32 `(rows, len(labels))` of 0 and 1.

    A row holds a list, tuple, set or array of labels, a string that is such a list, see `written_list`, or one that
    joins them with `|` (`"|"` alone: none).

    Raises: UserError that lists each row whose labels are missing, not in `labels`, or named twice.
    """
    refuse(multi_label_problems(frame, column, labels), f"{origin(frame)}: rows without a usable {column}")
    ids_of = _ids_by_name(labels)
    hot = np.zeros((len(frame), len(labels)), dtype=np.float32)
    for row, value in zip(hot, frame[column], strict=True):
        row[[ids_of[name] for name in _label_names(value)]] = 1.0
    return hot


def label_problems(frame, column, labels=None):
    """Returns a `Problem` for each row that has no label, several, or one that is not in `labels`, if given."""
    reason = _reasons(labels)
    several = "is a list; rows of several labels need multi_label=True"
    return row_problems(
        frame,
        column,
        (several if isinstance(value, _LISTS) else reason([_label_name(value)]) for value in frame[column]),
    )


def multi_label_problems(frame, column, labels=None):
    """Returns a `Problem` for each row whose labels are missing, named twice, or not in `labels`, if they are known."""
    reason = _reasons(labels)
    twice = f"names a label twice. {_ROW_OF_LABELS}"

    def row_reason(names):
        if names is None:
            return NO_LIST
        return twice if len(set(names)) < len(names) else reason(names)

    return row_problems(frame, column, map(row_reason, map(_label_names, frame[column])))


def one_sided(targets, labels):
    """Returns a message for each label that no row of `targets` has, or every row: it cannot be learned from them."""
    shares = targets.mean(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=len(labels)) / len(targets)
    return [
        f"label {label!r} is that of {'every' if share else 'no'} example. Received: {share:.0%} of {len(targets):,}"
        for label, share in zip(labels, shares, strict=True)
        if share in (0, 1)
    ]


def _label_name(value):
    """Returns the label as str, or None if it is missing."""
    if isinstance(value, str):
        return value.strip() or None
    if is_missing(value):
        return None
    if isinstance(value, (float, np.floating)) and value.is_integer():
        return str(int(value))  # pandas makes floats of integers as soon as one is missing.
    return str(value)


def _label_names(value):
    """Returns the names of a row's labels, None for each that is missing; None for a string that is no list."""
    if isinstance(value, str) and has_brackets(value):
        value = written_list(value)
        if value is None:
            return None
    if isinstance(value, str) and value.strip():
        return list(filter(None, map(_label_name, value.split("|"))))
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_label_name(item) for item in (np.atleast_1d(value) if isinstance(value, np.ndarray) else value)]
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
        or (is_number and len(set(map(float, names))) < len(names) and "one number is written in two ways")
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
    if not any(map(_NUMBER.fullmatch, names)):
        ids_of |= {str(index): index for index in range(len(names))}
    return ids_of


def _reasons(labels):
    """Returns a function of a row's names to what is wrong with them, or None."""
    if labels is None:
        return lambda names: "is missing" if None in names else None
    ids_of, hints = _ids_by_name(labels), 0
    allowed = f"The labels are: {', '.join(map(str, labels[:SHOWN]))}{', …' if len(labels) > SHOWN else ''}"

    def reason(names):
        nonlocal hints
        unknown = [name for name in names if name not in ids_of]
        if not unknown or None in unknown:
            return "is missing" if unknown else None
        # Looking for the nearest name takes long, and no more than the first are shown.
        hints += 1
        hint = nearest(unknown[0], labels) if hints <= SHOWN else ""
        return f"{brief(unknown[0])} is not one of the labels.{hint} {allowed}"

    return reason
