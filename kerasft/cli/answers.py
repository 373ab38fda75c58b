"""What `kerasft predict` prints and writes."""

import csv
import os

from kerasft.data import base
from kerasft.errors import UserError
from kerasft.pipeline import clean


def for_inputs(tuner, inputs):
    """Returns a dict for each input: what was asked, then what `predict` says, as JSON can hold it.

    Args:
        tuner: FineTuner.
        inputs: list of str. For a task on pairs, the two of each pair one after the other.
    """
    names = tuner.task.inputs
    if len(inputs) % len(names):
        raise UserError(f"Inputs are {' and '.join(names)} in turn. Received: {len(inputs)} inputs")
    rows = list(zip(*[iter(inputs)] * len(names), strict=True))
    asked = [dict(zip(names, row, strict=True)) for row in rows]
    return _joined(asked, tuner.predict(rows if len(names) > 1 else inputs))


def for_data(tuner, data):
    """Returns the same for each row of data of any source; what was asked is the row's number."""
    frame = base.load(data)
    return _joined([{"row": int(number)} for number in frame.index], tuner.predict(frame))


def flat(row):
    """Returns what fits into the cells of a table: entities by label and text; the lists of scores do not."""
    cells = {name: _entities(value) if isinstance(value, list) else value for name, value in row.items()}
    return {name: value for name, value in cells.items() if value is not None}


def _entities(found):
    are_entities = all(isinstance(item, dict) for item in found)
    return "; ".join(f"{item['label']}: {item['text']}" for item in found) if are_entities else None


def check_target(path):
    """Raises UserError if a CSV file cannot be written to `path`, before there are answers to lose."""
    if os.path.isfile(path) or os.path.isdir(path):
        raise UserError(f"There is something already; choose another file. Received: --csv {path}")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UserError(f"There is no folder {folder!r} to write to; make it first. Received: --csv {path}")


def write_csv(rows, path):
    """Writes one line for each answer, without the lists; no cell is a formula to a spreadsheet."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat(rows[0])))
        writer.writeheader()
        writer.writerows({name: _no_formula(value) for name, value in flat(row).items()} for row in rows)


def _no_formula(value):
    """Returns text as `clean.harmless` makes it; what is a number, such as -0.5, stays one."""
    if not isinstance(value, str):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return clean.harmless(value)


def _joined(asked, answers):
    columns = {name: [_plain(value) for value in values.tolist()] for name, values in answers.items()}
    answered = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [{**question, **answer} for question, answer in zip(asked, answered, strict=True)]


def _plain(value):
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value
