"""Checks raw examples before step 1: every problem is named with its file, its row and its reason.

Pure functions on the tables of `kerasft.data`. Problems are lists, of rows or of messages, so that one run shows them
all: `refuse` makes an error of them, `warn` a warning, and `Quarantine` leaves rows out.
"""

import os

import pandas as pd

from kerasft.errors import UserError, nearest
from kerasft.pipeline._chats import as_turns, message_problems
from kerasft.pipeline._content import conflicting, content_hashes, content_keys, digest, duplicates
from kerasft.pipeline._images import image_problems
from kerasft.pipeline._labels import (
    infer_labels,
    infer_multi_labels,
    label_ids,
    label_problems,
    multi_label_ids,
    multi_label_problems,
    one_sided,
)
from kerasft.pipeline._numbers import number_problems, numbers
from kerasft.pipeline._problems import (
    SHOWN,
    DataWarning,
    brief,
    harmless,
    is_missing,
    origin,
    refuse,
    row_problems,
    warn,
)
from kerasft.pipeline._quarantine import Quarantine, without
from kerasft.pipeline._texts import text_problems
from kerasft.pipeline._words import (
    answer_problems,
    as_answers,
    as_list,
    as_span,
    span_pair_problems,
    span_problems,
    tag_names,
    tag_problems,
    token_problems,
)
from kerasft.registry import raise_if

__all__ = [
    "DataWarning",
    "Quarantine",
    "answer_problems",
    "as_answers",
    "as_list",
    "as_span",
    "as_turns",
    "brief",
    "choose_columns",
    "conflicting",
    "content_hashes",
    "content_keys",
    "digest",
    "duplicates",
    "harmless",
    "image_problems",
    "infer_labels",
    "infer_multi_labels",
    "is_missing",
    "label_ids",
    "label_problems",
    "message_problems",
    "multi_label_ids",
    "multi_label_problems",
    "number_problems",
    "numbers",
    "one_sided",
    "origin",
    "refuse",
    "resolve_paths",
    "row_problems",
    "span_pair_problems",
    "span_problems",
    "tag_names",
    "tag_problems",
    "text_problems",
    "token_problems",
    "warn",
    "without",
]


def choose_columns(frame, wanted, columns=None):
    """Takes the columns that a task reads, under the task's names for them.

    Args:
        frame: pandas.DataFrame from `kerasft.data`.
        wanted: dict of str to bool. The task's columns; True if it must be there.
        columns: dict of str to str, or None. Ours to theirs, such as `{"text": "review"}`.

    Returns: pandas.DataFrame with the wanted columns that exist, in the order of `wanted`; index and attrs are kept.
    Raises: UserError that names the data, the columns it has and the nearest to each missing one.
    """
    if not isinstance(columns, (dict, type(None))):
        raise UserError(f"columns must be a dict such as {{'text': 'review'}}. Received: columns={columns!r}")
    columns, present = columns or {}, list(frame.columns)
    there = ", ".join(brief(name, limit=30) for name in present[:SHOWN])
    errors = [
        f"columns maps {ours!r}, which is not a column of this task.{nearest(ours, wanted)} "
        f"It reads: {', '.join(wanted)}. Received: columns={columns!r}"
        for ours in columns
        if ours not in wanted
    ]
    theirs = {ours: columns.get(ours, ours) for ours in wanted}
    errors += [
        f"{origin(frame)} has no column {theirs[ours]!r}.{nearest(theirs[ours], present)} It has: {there}. Another "
        f"name is given by columns={{{ours!r}: …}}. Received: columns={columns or None!r}"
        for ours, is_needed in wanted.items()
        if theirs[ours] not in present and (is_needed or ours in columns)
    ]
    raise_if(errors)
    found = [ours for ours in wanted if theirs[ours] in present]
    return frame[[theirs[ours] for ours in found]].set_axis(found, axis="columns")


def resolve_paths(frame, column):
    """Returns the table with relative paths in `column` taken from the folder of the file that lists them, once."""
    folder = frame.attrs.get("folder", "")
    paths = [os.path.join(folder, value) if isinstance(value, str) else value for value in frame[column]]
    resolved = frame.assign(**{column: pd.Series(paths, index=frame.index, dtype=object)})
    resolved.attrs = {name: value for name, value in frame.attrs.items() if name != "folder"}
    return resolved
