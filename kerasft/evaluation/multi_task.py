"""How good several answers for each example are: every task by its own measures, on the rows that have its answer."""

import dataclasses
import importlib

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _overview
from kerasft.evaluation._markup import escape, tag


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of examples.

    Attributes:
        examples: int. Number of rows.
        tasks: dict of name to the `Evaluation` of each task on the rows that have its answer.
    """

    examples: int
    tasks: dict

    @property
    def metrics(self):
        """Returns the `Estimate`s of all tasks, as `<task>_<metric>`."""
        found = ((name, task.metrics) for name, task in self.tasks.items())
        return {f"{name}_{metric}": estimate for name, metrics in found for metric, estimate in metrics.items()}

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {"examples": self.examples, "tasks": {name: task.counted() for name, task in self.tasks.items()}}

    def headline(self):
        """Returns the result of the first task as a `Headline`, with those of the others beside it."""
        (name, first), *others = self.tasks.items()
        found = first.headline()
        beside = "; ".join(f"{other}: {_short(task.headline())}" for other, task in others)
        return found._replace(words=f"{name}: {found.words}", aside=f"{beside}." if beside else found.aside)

    def sections(self):
        """Returns the sections of a report that are of these tasks, as HTML."""
        found = []
        for name, task in self.tasks.items():
            found.append(tag("h2", escape(name), class_="task"))
            found.append(tag("p", escape(_short(task.headline()))) + _overview.tiles(task))
            found += task.sections()
        return found


def evaluate(targets, outputs, parts, frame=None, **resampling):
    """Measures each task where there is an answer for it.

    Args:
        targets: `(rows, columns)` float of all tasks, NaN for no answer. outputs: `(rows, units)` float of all tasks.
        parts: list of dicts, one a task, as `MultiTask.evaluation_arguments` makes them.
        frame: pandas.DataFrame of the raw examples in the same order, or None.
        **resampling: `resamples` and `seed` of the intervals, see `bootstrap.intervals`.

    Returns: `Evaluation`. Raises: UserError if there is an answer for none of them.
    """
    made = {}
    for part in parts:
        rows, given = _given(part, targets, outputs)
        if len(rows):
            own = None
            if frame is not None:
                others = [other["name"] for other in parts if other is not part]
                own = frame.iloc[rows].drop(columns=others).rename(columns={part["name"]: part["target"]})
                own.attrs = frame.attrs
            made[part["name"]] = _module(part).evaluate(*given, **part["arguments"], frame=own, **resampling)
    if not made:
        raise UserError("There is an answer for no task, so nothing can be measured. Received: no targets")
    return Evaluation(len(outputs), made)


def picture(targets, outputs, parts):
    """Returns the `figures.Picture` of the first task that has answers; arguments as of `evaluate`."""
    for part in parts:
        rows, given = _given(part, targets, outputs)
        if len(rows):
            return _module(part).picture(*given, **part["arguments"])
    return None


def _given(part, targets, outputs):
    """Returns the rows with an answer for a task, and its targets and outputs there."""
    own = np.asarray(targets)[:, part["columns"]]
    rows = np.flatnonzero(~np.isnan(own).any(axis=1))
    own = own[rows]
    if part["is_number"]:
        own = own[:, 0].astype("int32")
    return rows, (own, np.asarray(outputs)[rows, part["units"]])


def _module(part):
    return importlib.import_module(f"kerasft.evaluation.{part['evaluation']}")


def _short(headline):
    return f"{headline.value}{headline.unit} {headline.words}"
