"""The examples of a training and of its validation: read, checked and split, with warnings of what is odd in them."""

from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.pipeline import clean, split


def read(task, seed, data, validation_data=None, validation_split=0.0, quarantine=None):  # noqa: PLR0913
    """Returns `(train, validation)`, tables with the task's columns; `validation` is None if nothing is to validate on.

    Args:
        task: Task. It learns the labels of `data` if it has none.
        seed: int. Of the split.
        data: as `FineTuner.fit` takes it. validation_data: the same, or None.
        validation_split: float from 0 to 1.
        quarantine: clean.Quarantine, which takes the rows that cannot be used, or None to refuse them.

    Raises: UserError for data that cannot be used.
    """
    if validation_data is not None and validation_split:
        raise UserError(
            f"Give validation_data or validation_split, not both. Received: validation_split={validation_split}"
        )
    train = task.prepare(data_sources.load(data), quarantine=quarantine)
    validation = None
    if validation_data is not None:
        validation = task.prepare(data_sources.load(validation_data), quarantine=quarantine)
    task.learn(train, validation)
    for problems, what in task.oddities(train):
        clean.warn(problems, what)
    content = _content(task, train)
    if validation_split:
        return split.split(train, validation_split, seed, label=task.strata, content=content)
    if validation is not None:
        clean.warn(clean.duplicates(train, validation, content), "validation examples that are also trained on")
    return train, validation


def folds(task, seed, frame, count):
    """Returns `count` pairs `(train, validation)` of a table that was read; each row is validated on once."""
    return split.folds(frame, count, seed, label=task.strata, content=_content(task, frame))


def _content(task, frame):
    """Returns the columns whose equal rows must stay together."""
    return [name for name in task.inputs if name in frame]
