"""A recipe with ranges, as KerasTuner knows it."""

import json
import os

import keras
import keras_tuner
import numpy as np

from kerasft import recipe as recipes
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import clean
from kerasft.training import tables

DATA = ("data", "validation_data", "validation_split")


class HyperModel(keras_tuner.HyperModel):
    """A `keras_tuner.HyperModel` over a recipe: each range is a hyperparameter, named by its path in the recipe.

    The data are read, checked and split once, and every trial is validated on the same rows. `fit` compiles, stage by
    stage, and writes a run folder.

    Args:
        recipe: dict. Arguments of `FineTuner` and `fit`, with ranges, and with data to validate on, unless `folds`.
        folds: int, 2 or more, or None. Parts of the data, each of which is validated on once, by a fit to the others.

    Attributes:
        ranges: dict. The ranges by path, as `kerasft.recipe.ranges` returns them.
        objective: keras_tuner.Objective. The task's validation metric.
        name_of_run: str. What `fit` would call the run.

    Raises: UserError if the recipe has no ranges or no validation data, has several seeds with `validation_split`, or
        cannot be fitted.
    Example: >>> keras_tuner.RandomSearch(HyperModel(recipe), objective="val_accuracy", max_trials=5).search()
    """

    def __init__(self, recipe, folds=None):
        super().__init__()
        _check(recipe, folds)
        self.ranges = recipes.ranges(recipe)
        data = {key: recipe[key] for key in DATA if key in recipe}
        recipe = {key: value for key, value in recipe.items() if key not in (*DATA, "directory")}
        first, _ = _made(recipes.fill(recipe, {path: _first(found) for path, found in self.ranges.items()}))
        given = (data["data"], data.get("validation_data"), data.get("validation_split", 0.0))
        train, validation = first.frames(*given, clean.Quarantine(recipe.get("max_bad_rows", 0.0)))
        self.parts = [(train, validation)]
        if folds:
            self.parts = tables.folds(first.task, first.arguments["seed"], train, folds)
        self.recipe = _without_columns(recipe) | first.task.learned
        self.objective, self.name_of_run = keras_tuner.Objective(*first.task.monitor), first.name
        first.preprocessor  # noqa: B018  (a backbone that cannot be had stops the search, not each trial)

    def values(self, hp):
        """Returns the value of each range, by its path, for the hyperparameters of a trial."""
        return {path: _suggested(hp, path, found) for path, found in self.ranges.items()}

    def build(self, hp):
        """Returns the trial's `keras.Model`."""
        self.tuner, self.fit_arguments = _made(recipes.fill(self.recipe, self.values(hp)))
        return self.tuner.model

    def fit(self, hp, model, directory=None, epochs=None, **kwargs):
        """Trains what `build` made last and returns its `keras.callbacks.History`.

        With folds it holds one score of each kind, of all rows, after the last epoch: each fold is fitted as all the
        data will be, which leaves nothing to stop early by; and the `standard_error` of the objective's.

        Args:
            directory: path of the run folder, or None for one under `saved_models/`.
            epochs: int or None. In place of the recipe's.
            **kwargs: what else KerasTuner hands over; not needed.
        """
        given = {**self.fit_arguments, **({"epochs": epochs} if epochs else {})}
        if len(self.parts) == 1:
            train, validation = self.parts[0]
            return self.tuner.fit(train, validation_data=validation, directory=directory, **given)
        logs = []
        for number, (train, validation) in enumerate(self.parts):
            if number:
                self.build(hp)
            folder = directory and os.path.join(directory, f"fold_{number}")
            self.tuner.fit(train, directory=folder, **given)
            logs.append(self.tuner.model.evaluate(self.tuner.batches(validation), verbose=0, return_dict=True))
        rows = [len(validation) for _, validation in self.parts]
        scores = {f"val_{name}": [log[name] for log in logs] for name in logs[0]}
        history = keras.callbacks.History()
        history.history = {name: [float(np.average(found, weights=rows))] for name, found in scores.items()}
        deviation = np.std(scores[self.objective.name], ddof=1)
        history.history["standard_error"] = [float(deviation / np.sqrt(len(rows)))]
        return history


def _check(recipe, folds):
    recipes.check(recipe, (FineTuner, FineTuner.fit))
    if not recipes.ranges(recipe):
        raise UserError(f"The recipe has no ranges, such as {{choice: [1, 2]}}. Received: {', '.join(recipe)}")
    has_validation = recipe.get("validation_data") is not None or bool(recipe.get("validation_split"))
    if not has_validation and not folds:
        raise UserError(
            "A search compares trials on validation data: give validation_split, validation_data or folds. "
            f"Received: {', '.join(recipe)}"
        )
    if has_validation and folds:
        raise UserError(f"Give folds or data to validate on, not both. Received: {folds=}, {', '.join(recipe)}")
    _check_variants(recipe)


def _check_variants(recipe):
    """Raises UserError for a backbone or a seed with which no trial, or no fit of the best recipe, can be as it is."""
    variants = recipes.variants(recipe)
    for backbone in [{**recipe, **variant}["backbone"] for variant in variants or [{}]]:
        if not isinstance(backbone, (str, os.PathLike, dict)):
            raise UserError(
                "Each trial loads the backbone anew, so it must be a name or a folder. "
                f"Received: backbone={type(backbone).__name__}"
            )
    seeds = [part["seed"] for part in variants if "seed" in part] or recipes.ranges(recipe).get("seed")
    if seeds and recipe.get("validation_split"):
        raise UserError(
            "With validation_split, the best recipe would be validated on other rows than the search was, those of its "
            f"own seed: give validation_data, or try seeds with kerasft compare. Received: seed={seeds}"
        )


def _made(recipe):
    """Returns the recipe's FineTuner and the arguments for its `fit`."""
    given, arguments = recipes.parted(recipe, FineTuner.fit)
    return FineTuner(**given), arguments


def _without_columns(recipe):
    """The data of the trials have the task's names already."""
    task = recipe["task"]
    if isinstance(task, dict):
        task = {key: value for key, value in task.items() if key != "columns"}
    return {key: value for key, value in recipe.items() if key != "columns"} | {"task": task}


def _first(found):
    return found["choice"][0] if "choice" in found else found["min"]


def _suggested(hp, path, found):
    if "choice" in found:
        return _chosen(hp, path, found["choice"])
    options = {"min_value": found["min"], "max_value": found["max"], "sampling": found.get("sampling", "linear")}
    is_whole = all(isinstance(found.get(key, 1), int) for key in ("min", "max", "step"))
    return (hp.Int if is_whole else hp.Float)(path, step=found.get("step"), **options)


def _chosen(hp, path, choices):
    """KerasTuner chooses among numbers or strings of one type; whatever else is told apart by its text."""
    kinds = {type(choice) for choice in choices}
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return hp.Choice(path, choices)
    by_text = {choice if isinstance(choice, str) else json.dumps(choice): choice for choice in choices}
    return by_text[hp.Choice(path, list(by_text))]
