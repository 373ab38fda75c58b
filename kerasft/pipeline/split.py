"""Holds examples back for validation, once or each in its turn."""

import numpy as np

from kerasft.errors import UserError
from kerasft.pipeline.clean import content_hashes, content_keys


def split(frame, fraction, seed, label=None, content=()):
    """Splits a table in two, so that each class is in both parts and nothing leaks from one to the other.

    Rows of equal content go to the same side; of each class about `fraction` of the rows go to validation, at
    least one and never all. The same table and seed give the same split.

    Args:
        frame: pandas.DataFrame.
        fraction: float above 0 and below 1. Share of the rows for validation.
        seed: int.
        label: str or None. Column of classes (one label a row); None splits without regard to classes.
        content: sequence of str. Columns whose equal rows must stay together, as `clean.content_keys` has it.

    Returns: `(train, validation)`, tables in the original order with the original row numbers.
    Raises: UserError if `fraction` is out of range, or a class has too few different examples for two sides.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise UserError(f"The share held back for validation must be above 0 and below 1. Received: {fraction!r}")
    groups = _groups(frame, content)
    classes = content_keys(frame, [label]) if label else [()] * len(frame)
    held_back = _chosen(groups, _codes(classes), fraction, seed)
    is_validation = np.isin(groups, held_back)
    _check_classes(frame, classes, is_validation)
    return frame[~is_validation], frame[is_validation]


def folds(frame, count, seed, label=None, content=()):
    """Parts a table into `count` folds, each with about the same share of every class.

    Args:
        frame, seed, label, content: as of `split`.
        count: int, 2 or more.

    Returns: list of `(train, validation)`; each row is in one of the validations. Rows of equal content stay together.
    Raises: UserError if a class has fewer different examples than there are folds.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise UserError(f"folds must be a whole number, 2 or more. Received: folds={count!r}")
    groups = _groups(frame, content)
    names = [key[0] for key in content_keys(frame, [label])] if label else [None] * len(frame)
    classes = _codes(names)
    for code in np.unique(classes):
        different = len(np.unique(groups[classes == code]))
        if different < count:
            of_class = f" of the class {str(names[list(classes).index(code)])!r}" if label else ""
            raise UserError(
                f"{frame.attrs.get('origin', 'data')} has too few different examples{of_class} for {count} folds. "
                f"Received: {different}"
            )
    from sklearn.model_selection import StratifiedGroupKFold  # Takes a second to import.

    folded = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(classes, classes, groups)
    return [(frame.iloc[train], frame.iloc[validation]) for train, validation in folded]


def _groups(frame, content):
    """Numbers rows of different content in the order in which they first occur, `(rows,)` int64."""
    if not content:
        return np.arange(len(frame))
    _, first, groups = np.unique(content_hashes(frame, content), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def _codes(keys):
    """Numbers distinct keys in the order in which they first occur."""
    numbers = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _chosen(groups, classes, fraction, seed):
    """Returns the groups to hold back; one whose rows disagree counts for the rarest of their classes."""
    rows = np.lexsort((np.bincount(classes)[classes], groups))
    found, first, sizes = np.unique(groups[rows], return_index=True, return_counts=True)
    class_of = classes[rows[first]]
    order = np.random.default_rng(seed).permutation(len(found))
    order = order[np.argsort(class_of[order], kind="stable")]
    starts = np.flatnonzero(np.diff(class_of[order], prepend=-1))
    return np.concatenate([found[_fill(part, sizes, fraction)] for part in np.split(order, starts[1:])])


def _fill(groups, sizes, fraction):
    """Takes groups as long as they fit into `fraction` of the rows, and the smallest if none does."""
    rows = sizes[groups].sum()
    room = max(1, min(round(fraction * rows), rows - 1))
    taken = []
    for group in groups:
        if sizes[group] <= room:
            taken.append(group)
            room -= sizes[group]
    return taken or [groups[np.argmin(sizes[groups])]]


def _check_classes(frame, classes, is_validation):
    sides = (set(), set())
    for name, is_held_back in zip(classes, is_validation, strict=True):
        sides[bool(is_held_back)].add(name)
    if sides[0] != sides[1]:
        lonely = sorted(repr(str(name[0])) for name in sides[0] ^ sides[1] if name)
        of_class = f" of the class {', '.join(lonely[:10])}" if lonely else ""
        raise UserError(
            f"{frame.attrs.get('origin', 'data')} has too few different examples{of_class} to train and to validate: "
            f"there must be two at least. Add some, remove the class, or give validation_data. "
            f"Received: {len(frame)} rows"
        )
