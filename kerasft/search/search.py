"""Tries the ranges of a recipe with KerasTuner."""

import contextlib
import dataclasses
import io
import itertools
import json
import logging
import math
import os
import sys
import warnings

import keras_tuner

from kerasft import recipe as recipes
from kerasft import run_folder
from kerasft.errors import UserError, nearest
from kerasft.pipeline import clean
from kerasft.search import trials as trials_module
from kerasft.search.hyper_model import DATA, HyperModel

TRIALS = 10
EPOCHS = 3  # Those of `fit`.
DRAWN = 0.8  # Share of the combinations that may be drawn when KerasTuner looks for a new one: it gives up after 20.
TUNERS = {
    "random": keras_tuner.RandomSearch,
    "grid": keras_tuner.GridSearch,
    "hyperband": keras_tuner.Hyperband,
    "bayesian": keras_tuner.BayesianOptimization,
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes:
        best: dict. The recipe with the values of the chosen trial; `FineTuner` and `fit` take its items.
        chosen: dict. The row in `trials` of that trial: of the best; with folds, of those within one standard error of
            the best, the one whose choices come first in the recipe.
        score: float. Its validation metric, at its best epoch.
        trials: list of dicts, the best first: `rank`, `trial`, the value of each range by its path, the metric by its
            name (with folds, its `standard_error`), `seconds`, and `error` of one that failed.
        directory: str. Holds `trials.csv`, `best_recipe.yaml` and TensorBoard's logs of every trial.
    """

    best: dict
    chosen: dict
    score: float
    trials: list
    directory: str


def search(recipe, tuner="random", trials=None, directory=None, seed=0, folds=None):  # noqa: PLR0913
    """Fits a recipe with different values of its ranges and tells the best.

    A trial that fails (a value that cannot be, a loss that is no number) is marked, and the search goes on. The same
    call goes on where an interrupted search was. Weights of the trials are not kept: fit the best recipe again.

    Args:
        recipe: dict, or path of a YAML file, with ranges: `{choice: […]}` or `{min: …, max: …}`.
        tuner: str. `"random"`, `"grid"`, `"bayesian"`, or `"hyperband"`: many trials of few epochs, of which the best
            third is fitted anew with three times as many, up to the recipe's.
        trials: int or None. Combinations to try, at most; None is 10, for grid all, for hyperband those of its plan.
        directory: path, or None for `saved_models/<name>_search`.
        seed: int. Of the choice of values; each trial's own seed is the recipe's.
        folds: int, 2 or more, or None. In place of data to validate on, for few examples: they are parted so, each
            trial is fitted as many times, and its score, after the last epoch, is of all, each held back once.
            Their differences are often chance: write choices in the order in which you would take them without.

    Returns: Result.
    Raises: UserError if the recipe or the data cannot be used at all, `directory` holds another search, such as one on
        other data, or every trial failed; for hyperband, if epochs are a range or in `variant`, or if there are too few
        combinations to begin with.
    Example: >>> search("tuner_configs/text_classification_full.yaml", trials=12).best
    Source: Li et al. 2018, Hyperband, https://arxiv.org/abs/1603.06560, algorithm 1.
    """
    if tuner not in TUNERS:
        raise UserError(f"tuner must be one of {', '.join(TUNERS)}.{nearest(tuner, TUNERS)} Received: {tuner=}")
    recipe = dict(recipe) if isinstance(recipe, dict) else recipes.read(recipe)
    hyper_model = HyperModel(recipe, folds)
    if tuner == "hyperband":
        _check_hyperband(recipe, hyper_model.ranges)
    settings = {"tuner": tuner, "seed": seed, "recipe": _named(recipe), **({"folds": folds} if folds else {})}
    settings["data"] = [clean.digest(part) for part in hyper_model.parts[0]]
    directory = _claimed(directory, os.path.join("saved_models", f"{hyper_model.name_of_run}_search"), settings)
    made = _tuner(hyper_model, tuner, trials, directory, seed)
    with warnings.catch_warnings(), _without_warnings_of_tensorflow():
        # Of scikit-learn, whose Gaussian process has few points to fit.
        warnings.filterwarnings("ignore", module="sklearn")
        made.search(verbose=0)
    return _result(made, recipe, directory)


def _check_hyperband(recipe, ranges):
    """Raises UserError unless Hyperband, which chooses the epochs, knows the most of them and can end its first rung.

    Source: the size of the rung is that of KerasTuner's HyperbandOracle.
    """
    variants = recipes.variants(recipe)
    if "epochs" in ranges or any("epochs" in part for part in variants):
        raise UserError(
            "hyperband chooses the epochs itself: epochs must be one whole number, their most, and not in variant. "
            f"Received: epochs={ranges.get('epochs', [part.get('epochs') for part in variants])}"
        )
    if not all("choice" in found for found in ranges.values()):
        return
    epochs, thirds = recipe.get("epochs", EPOCHS), 0
    while 3 ** (thirds + 1) <= epochs:
        thirds += 1
    first = math.ceil(math.ceil(1 + math.log(epochs, 3)) / (thirds + 1) * 3**thirds)
    combinations, needed = math.prod(len(found["choice"]) for found in ranges.values()), math.ceil((first - 1) / DRAWN)
    if combinations < needed:
        raise UserError(
            f"hyperband with epochs={epochs} begins with {first} combinations drawn at random, of {needed} at least; "
            f"for fewer there is tuner='grid'. Received: {combinations} combinations"
        )


@contextlib.contextmanager
def _without_warnings_of_tensorflow():
    """It takes the graphs of models that follow each other for one that is traced too often."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _tuner(hyper_model, name, trials, directory, seed):
    hp = keras_tuner.HyperParameters()
    hyper_model.values(hp)
    bound = {"max_trials": trials or (None if name == "grid" else TRIALS)}
    if name == "hyperband":
        bound = {"max_epochs": hyper_model.recipe.get("epochs", EPOCHS)}
    with contextlib.redirect_stdout(io.StringIO()):  # It prints which file it goes on from.
        made = type("Search", (trials_module.Trials, TUNERS[name]), {})(
            objective=hyper_model.objective,
            hyperparameters=hp,
            seed=seed + 1,  # KerasTuner takes 0 for none.
            max_consecutive_failed_trials=sys.maxsize,
            directory=directory,
            project_name="keras_tuner",
            **bound,
        )
    made.hypermodel = hyper_model  # Not before: it would be built once more, only to ask which ranges there are.
    if trials:
        made.oracle.max_trials = trials
    return made


def _result(made, recipe, directory):
    rows = trials_module.table(made.oracle)
    if rows[0]["error"]:
        raise UserError(f"All {len(rows)} trials failed, see {directory}/trials.csv. The first: {rows[0]['error']}")
    chosen = trials_module.chosen(made.oracle, rows)
    best = made.oracle.trials[chosen["trial"]].hyperparameters
    values = made.hypermodel.values(best)
    if "tuner/epochs" in best.values:
        values["epochs"] = best.values["tuner/epochs"]
    filled = recipes.fill({key: value for key, value in recipe.items() if key not in DATA}, values)
    filled = {key: filled.get(key, recipe.get(key)) for key in (*recipe, *filled) if key != recipes.VARIANT}
    name = made.oracle.objective.name
    path = os.path.join(directory, "best_recipe.yaml")
    comment = f"{name} {chosen[name]:.4f}, number {chosen['rank']} of {len(rows)} trials\nkerasft fit {path}"
    recipes.write(_writable(filled), path, comment)
    return Result(filled, chosen, chosen[name], rows, directory)


def _named(recipe):
    """Returns the recipe as YAML can hold it, without data in memory, which cannot be named."""
    named = (str, os.PathLike, dict, float)
    return run_folder.plain({key: v for key, v in recipe.items() if key not in DATA or isinstance(v, named)})


def _writable(recipe):
    """Returns the recipe as YAML can hold it, with the rows of data in memory where a recipe can hold them."""
    rows = {key: _rows(value) for key, value in recipe.items() if key in DATA and isinstance(value, list)}
    made = _named(recipe) | {key: value for key, value in rows.items() if value is not None}
    return {key: made[key] for key in recipe if key in made}


def _rows(value):
    """Returns rows as YAML can hold them, or None if a recipe cannot: for what is in them, or for their size."""
    try:
        text = json.dumps(value)
    except TypeError:
        return None
    return json.loads(text) if len(text) < recipes.MAX_BYTES else None


def _claimed(directory, default, settings):
    """Returns the folder, with the settings in it, or the default with the first number that is free."""
    numbered = (f"{default}-{number}" if number > 1 else default for number in itertools.count(1))
    for candidate in [os.fspath(directory)] if directory else numbered:
        path = os.path.join(candidate, "search.yaml")
        if not os.path.exists(candidate) or (os.path.isdir(candidate) and not os.listdir(candidate)):
            os.makedirs(candidate, exist_ok=True)
            recipes.write(settings, path)
        if os.path.exists(path) and recipes.read(path) == settings:
            return candidate
    obstacle = "This is a file" if os.path.isfile(candidate) else "The folder holds another search"
    raise UserError(f"{obstacle}; choose a new one. Received: directory={candidate!r}")
