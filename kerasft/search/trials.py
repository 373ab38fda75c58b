"""The trials of a search: what runs each of them, and the table of all."""

import csv
import gc
import glob
import math
import os
import re
import shutil
import time

import keras
import keras_tuner

from kerasft import console, files


class Trials:
    """Runs each trial by the `HyperModel`'s `fit`; the KerasTuner class after it in the bases chooses the values.

    KerasTuner's own way is to keep weights and optimizer of every trial, three times the size of the model each, and
    to let Hyperband go on from them, which a learning rate that has fallen to zero does not allow.
    """

    def run_trial(self, trial, **kwargs):
        folder = os.path.join(self.directory, f"trial_{trial.trial_id}")
        runs = (folder, *glob.glob(os.path.join(folder, "fold_*")))
        if any(os.path.exists(os.path.join(run, "manifest.json")) for run in runs):
            shutil.rmtree(folder)  # It, or one of its folds, was interrupted after its end and before it was counted.
        console.console.print(f"trial {trial.trial_id}  {_shown(values_of(trial))}", style="bold", markup=False)
        begin = time.monotonic()
        try:
            logs = self._fitted(trial, folder)
        except Exception:
            _keep_logs(folder)
            raise
        _keep_logs(folder)
        objective = self.oracle.objective
        best = max(logs[objective.name]) if objective.direction == "max" else min(logs[objective.name])
        error = {"standard_error": logs["standard_error"][0]} if "standard_error" in logs else {}
        return {objective.name: best, **error, "seconds": round(time.monotonic() - begin, 1)}

    def _fitted(self, trial, folder):
        hp = trial.hyperparameters
        console.console.quiet = True  # What it prints is of a folder that does not stay, or the same for all trials.
        try:
            model = self.hypermodel.build(hp)
            return self.hypermodel.fit(hp, model, directory=folder, epochs=hp.values.get("tuner/epochs")).history
        finally:
            console.console.quiet = False

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        rows = table(self.oracle)
        write(rows, os.path.join(self.directory, "trials.csv"))
        row = next(row for row in rows if row["trial"] == trial.trial_id)
        name = self.oracle.objective.name
        console.console.print(f"trial {trial.trial_id}  {row['error'] or _shown({name: row[name]})}", markup=False)
        keras.utils.clear_session()
        gc.collect()


def table(oracle):
    """Returns a dict for each trial that has ended, the best first and those that failed last."""
    name, sign = oracle.objective.name, -1 if oracle.objective.direction == "max" else 1
    ended = [oracle.trials[trial_id] for trial_id in oracle.end_order]
    ended.sort(key=lambda trial: sign * trial.score if _is_whole(trial) else math.inf)
    has_folds = any(trial.metrics.exists("standard_error") for trial in ended)
    measured = (*(["standard_error"] if has_folds else []), "seconds")
    rows = []
    for rank, trial in enumerate(ended, start=1):
        is_whole = _is_whole(trial)
        row = {"rank": rank, "trial": trial.trial_id, **values_of(trial), name: trial.score if is_whole else None}
        row |= {key: trial.metrics.get_best_value(key) if is_whole else None for key in measured}
        rows.append(row | {"error": reason(trial)})
    return rows


def chosen(oracle, rows):
    """Returns the row of `table` to take: the first; with folds, of those within one standard error of it, the one
    whose choices come first in the recipe.

    Source: Breiman, Friedman, Olshen & Stone 1984, Classification and Regression Trees, section 3.4.3.
    """
    name, best = oracle.objective.name, rows[0]
    if "standard_error" not in best:
        return best
    near = [row for row in rows if not row["error"] and abs(row[name] - best[name]) <= best["standard_error"]]
    return min(near, key=lambda row: _places(oracle.trials[row["trial"]].hyperparameters))


def _places(hp):
    """Returns the place of each chosen value among its choices."""
    choices = [found for found in hp.space if isinstance(found, keras_tuner.engine.hyperparameters.Choice)]
    return [list(found.values).index(hp.values[found.name]) for found in choices]


def values_of(trial):
    """Returns a trial's value of each range, by its path, and its epochs where the tuner chose them."""
    values = trial.hyperparameters.values
    found = {path: value for path, value in values.items() if not path.startswith("tuner/")}
    return found | ({"epochs": values["tuner/epochs"]} if "tuner/epochs" in values else {})


def reason(trial):
    """Returns why a trial failed, or None: the last line of its traceback, as a user should read it."""
    if _is_whole(trial):
        return None
    lines = (trial.message or "The score is no number").strip().splitlines()
    return re.sub(r"^[\w.]*UserError: ", "", lines[-1])


def write(rows, path):
    """Writes the table as a CSV file, which is replaced as a whole."""
    with files.replaced(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _is_whole(trial):
    return trial.status == "COMPLETED"


def _keep_logs(folder):
    """Removes everything of a run but TensorBoard's logs: weights of many trials fill a disk."""
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if name.startswith("fold_"):
            _keep_logs(path)
        elif name != "logs":
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _shown(values):
    texts = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values.values())
    return "  ".join(f"{name} {text}" for name, text in zip(values, texts, strict=True))
