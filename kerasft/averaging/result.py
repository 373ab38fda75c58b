"""An average in the making: its weights in a model, its scores, and the run folder it ends in."""

import csv
import dataclasses
import os

from kerasft import recipe as recipes
from kerasft import run_folder, weights
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.training import batch_statistics

TABLE = "averages.csv"


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of averaging.

    Attributes:
        directory: str. The run folder, with the table as `averages.csv`.
        rows: list of dicts, the lines of the table: what was scored, whether it is in the average or chosen, and the
            `Estimate` of the score on validation data and, where they were given, on shifted data.
    """

    directory: str
    rows: list


class Average:
    """The model that the average is put into.

    Args:
        runs: Runs.
        tuner: FineTuner, as `Runs.tuner` returns it.
        directory: path of the run folder to write; nothing may be there.
        data: pair of what it is scored on, as for `fit`, and the same from another distribution, or None.
        train: the training data, for the statistics of BatchNorm; needed only where the runs trained them.

    Attributes:
        metric: str. The metric that decides, the task's own: that by which `fit` keeps the best weights.

    Raises: UserError for data that cannot be used, or if training data are needed and missing.
    """

    def __init__(self, runs, tuner, directory, data, train=None):
        self.runs = runs
        self.tuner = tuner
        self.tuner.directory = None  # What is scored on the way is not to be reported in the folder of a run.
        self.directory = run_folder.empty(os.fspath(directory))
        self.train = train
        self.has_statistics = bool(batch_statistics.learning_layers(runs.first.model))
        if self.has_statistics and train is None:
            raise UserError(
                "The runs trained BatchNorm, whose statistics must be estimated again for averaged weights: give the "
                "training data. Received: train=None"
            )
        self.calibrates = any(name.startswith("val_") for name in runs.first.history)  # As `fit` did.
        given = dict(zip(("validation", "shifted"), data, strict=True))
        prepare = self.tuner.task.prepare
        self.frames = {name: prepare(data_sources.load(d)) for name, d in given.items() if d is not None}

    def put(self, values, is_new=True):
        """Puts `{path: array}` into the model. With `is_new` they are of no run, which had statistics of its own."""
        variables = weights.by_path(self.tuner.model)
        for path, value in values.items():
            variables[path].assign(value)
        if is_new and self.has_statistics:
            batch_statistics.estimate(self.tuner.model, lambda: self.tuner.batches(self.train, training=True))

    def scores(self):
        """Returns `{"validation": Estimate, "shifted": Estimate}` of what is in the model.

        What decoding needs to know, if `fit` chose it on validation data, is chosen for it first.
        """
        self.evaluations = {
            name: self.tuner._evaluate(frame, calibrate=self.calibrates and name == "validation")
            for name, frame in self.frames.items()
        }
        return {name: evaluation.metrics[self.metric] for name, evaluation in self.evaluations.items()}

    @property
    def metric(self):
        name, found = self.tuner.task.monitor[0].removeprefix("val_"), self.evaluations["validation"].metrics
        return name if name in found else next(iter(found))

    def worth(self, scores):
        """Returns the validation score as a number of which more is better."""
        name, direction = self.tuner.task.monitor
        if self.metric != name.removeprefix("val_"):  # The loss, which is not among what is measured.
            direction = "min" if self.metric == "perplexity" else "max"
        return scores["validation"].value * (1 if direction == "max" else -1)

    def save(self, words, rows, files=None):
        """Writes what is in the model, which was scored last, as a run folder.

        Args:
            words: str. How it was made, for the facts of the run.
            rows: list of dicts, the table.
            files: dict or None. Further files, `{name: bytes}`.

        Returns: Result.
        """
        tuner, first = self.tuner, self.runs.first
        recipe = recipes.read(os.path.join(self.runs.directories[0], "recipe.yaml"))
        tuner.fit_arguments = {name: recipe[name] for name in run_folder.FIT_ARGUMENTS if name in recipe}
        tuner.facts, tuner.samples, tuner.history = {**first.facts, "averaged": words}, first.samples, {}
        tuner.save(self.directory)
        _write_table(rows, os.path.join(self.directory, TABLE))
        for name, content in (files or {}).items():
            with open(os.path.join(self.directory, name), "wb") as file:
                file.write(content)
        tuner.directory = os.path.abspath(self.directory)
        run_folder.write_report(tuner, self.evaluations["validation"], self.frames["validation"])
        return Result(self.directory, rows)


def _write_table(rows, path):
    """Writes a row of the table as a line, an estimate as three columns."""
    lines = [{key: part for name, cell in row.items() for key, part in _columns(name, cell)} for row in rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _columns(name, cell):
    if not hasattr(cell, "low"):
        return [(name, cell)]
    return [(name, cell.value), (f"{name} low", cell.low), (f"{name} high", cell.high)]
