"""The examples that a classifier got wrong, as a report shows them."""

from typing import NamedTuple

import numpy as np

from kerasft.errors import UserError

SHOWN = 20


class Headline(NamedTuple):
    """The one result that counts, in plain words.

    Attributes:
        value: str. unit: str, or empty. words: str, what the value is of. span: str, its interval.
        aside: str. What a trivial answer would reach, or empty.
    """

    value: str
    unit: str
    words: str
    span: str
    aside: str


def worst(targets, outputs, labels, frame):
    """Returns up to 20 dicts of wrong predictions, the surest first, see `classification.Evaluation.mistakes`."""
    if targets.ndim == 2:
        chances = np.where(targets == 1, 1 - outputs.probabilities, outputs.probabilities)
        scores = np.where(targets == outputs.predicted, -np.inf, chances).max(axis=1)
    else:
        scores = outputs.confidence
    wrong = np.flatnonzero(~outputs.is_right)
    rows = wrong[np.argsort(-scores[wrong], kind="stable")][:SHOWN]
    return [
        {
            "row": row_number(frame, row),
            "origin": origin(frame),
            "preview": preview(frame, row),
            "truth": _names(targets[row], labels),
            "predicted": _names(outputs.predicted[row], labels),
            "score": float(scores[row]),
        }
        for row in rows.tolist()
    ]


def listed(frame, rows, **columns):
    """Returns a dict for each of these rows of a frame: `row`, `origin`, and of each column the value in its place."""
    values = zip(*columns.values(), strict=True)
    return [
        {"row": row_number(frame, row), "origin": origin(frame), **dict(zip(columns, found, strict=True))}
        for row, found in zip(rows.tolist(), values, strict=True)
    ]


def noun(frame):
    """Returns what the rows of a table of raw examples are, in the plural."""
    return next((f"{name}s" for name in ("text", "image") if frame is not None and name in frame), "examples")


def preview(frame, position):
    """Returns the text, both texts on a line each, or the image as the table holds it; None if it holds neither."""
    if frame is None or "image" in frame:
        return None if frame is None else frame["image"].iloc[position]
    return "\n".join(str(frame[name].iloc[position]) for name in ("text", "text_pair") if name in frame) or None


def row_number(frame, position):
    """Returns the number that messages call a row by: the table's own, or counted from 1."""
    return position + 1 if frame is None else frame.index[position]


def origin(frame):
    """Returns the name that messages call the data by."""
    return "data" if frame is None else frame.attrs.get("origin", "data")


def check_finite(outputs, splits, frame):
    """Raises UserError, naming the text, if an output of one of its words is not finite.

    Args:
        outputs: `(words, units)` of all texts. splits: `(texts + 1,)` int, where each text's words begin.
    """
    bad = np.flatnonzero(~np.isfinite(outputs).all(1))
    if len(bad):
        row = int(np.searchsorted(splits, bad[0], "right")) - 1
        where = f"{origin(frame)}, row {row_number(frame, row)}"
        raise UserError(f"{where}: the outputs must be finite. Received: {outputs[bad[0]]}")


def _names(target, labels):
    if np.ndim(target) == 0:
        return labels[int(target)]
    return ", ".join(label for label, applies in zip(labels, target, strict=True) if applies) or "none"
