"""What is compared with what: the variants of a recipe, their seeds, and the examples that they are scored on."""

import dataclasses
import importlib
import re
from typing import Any

from kerasft import recipe as recipes
from kerasft import registry, run_folder
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import clean

LEFT_OUT = ("directory", "resume", "save_freq")  # Each run has a folder of its own, and goes on where it was.


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to fine-tune.

    Attributes:
        name: str. As tables call it, such as `"lora rank=32"` or `"full + l2_sp"`.
        slug: str. As its folders are called.
        recipe: dict. Arguments of `FineTuner` and `fit`, but for the seed.
    """

    name: str
    slug: str
    recipe: dict


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that is to be run.

    Attributes:
        name: str. What `fit` would call a run of the recipe.
        variants: list of Variant; the others are compared with the first.
        seeds: list of int.
        test: data to score on, or None for the validation data.
        scored_on: str. The same in words.
        examples: int. How many these are.
        held_back: dict. `data` and `validation_data` in memory in place of the recipe's, where the examples to score on
            are held back from its data: a split by each run's seed would not give the same to all. Otherwise empty.
        digests: dict. Of the tables to fit to and to validate on (`data`), and of that to score on (`test`).
        notes: list of str. What the reader of a table should know.
    """

    name: str
    variants: list
    seeds: list
    test: Any
    scored_on: str
    examples: int
    held_back: dict
    digests: dict
    notes: list


def make(recipe, methods=(), objectives=(), seeds=3, test=None):
    """Returns the `Plan`, after checking everything that can be checked without loading a backbone.

    A method other than the recipe's has its own default learning rate: one that was chosen for another method would
    be no fair comparison. Objectives are each added to the recipe's method, in place of the recipe's, and compared
    with it alone.

    Args:
        recipe: dict, with no ranges.
        methods, objectives: sequences of str or dict, as in recipes.
        seeds: int, 1 or more. The first is the recipe's.
        test: data as `fit` takes them, or None for the recipe's validation data.

    Raises: UserError for variants or data that cannot be, all of the variants' errors in one.
    Example: >>> make(recipes.read("recipe.yaml"), ["full", {"name": "lora", "rank": 32}], test="test.csv")
    """
    recipe = {key: value for key, value in recipe.items() if key not in LEFT_OUT}
    if not isinstance(seeds, int) or seeds < 1:
        raise UserError(f"seeds must be a whole number, 1 or more. Received: seeds={seeds!r}")
    recipes.check(recipe, (FineTuner, FineTuner.fit))
    found = _variants(recipe, methods, objectives)
    _check(found)
    tuner = _tuner(found[0].recipe)
    scorer(tuner.task)
    frame, scored, held_back, digests = _scored(tuner, recipe, test)
    if len(frame) < 2:
        raise UserError(f"A comparison needs two examples to score on, or more. Received: {len(frame)} examples")
    first = recipe.get("seed", 0)
    return Plan(
        name=_tuner(recipe).name,
        variants=found,
        seeds=list(range(first, first + seeds)),
        test=scored,
        scored_on=f"{'validation' if test is None else 'test'} data, {_origin(frame, recipe, held_back)}",
        examples=len(frame),
        held_back=held_back,
        digests=digests,
        notes=_notes(recipe, found, test),
    )


def parse(text, option):
    """Returns the items of a comma list of names and YAML flow values: `full,{name: lora, rank: 32}`.

    Raises: UserError if it is none, with the name of the option.
    """
    items = recipes.parse(f"[{text}]", option) if text else []
    wrong = [item for item in items if not isinstance(item, (str, dict))]
    if wrong:
        raise UserError(f"{option} is a list of names or {{name: …}}, with commas. Received: {wrong[0]!r}")
    return items


def scorer(task):
    """Returns the task's function for the metric to compare, and the scores of single examples of which it is the mean.

    Raises: UserError if its file in `kerasft/evaluation/` has no `example_scores`.
    """
    module = importlib.import_module(f"kerasft.evaluation.{task.evaluation}")
    if not hasattr(module, "example_scores"):
        raise UserError(
            f"Comparing needs a score for each example, and {module.__name__} has no example_scores. "
            f"Received: task={type(task).__name__}"
        )
    return module.example_scores


def _variants(recipe, methods, objectives):
    own = recipe.get("method", "full")
    pairs = [(method, recipe.get("objectives") or []) for method in methods]
    if objectives:
        pairs += [(own, [])] if (own, []) not in pairs else []
        pairs += [(own, [objective]) for objective in objectives]
    made, slugs = [], set()
    for method, added in pairs:
        name = " + ".join(_described(part) for part in (method, *added))
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:80]
        if any(name == variant.name for variant in made):
            raise UserError(f"A variant is named twice. Received: {name!r}")
        while slug in slugs:
            slug += "_"
        slugs.add(slug)
        made.append(Variant(name, slug, _recipe(recipe, method, added)))
    if len(made) < 2:
        raise UserError(
            "Name two variants at least, such as --methods full,lora or --objectives l2_sp. "
            f"Received: {', '.join(variant.name for variant in made) or 'none'}"
        )
    return made


def _recipe(recipe, method, objectives):
    made = {key: value for key, value in recipe.items() if key != "objectives"}
    if _name(method) != _name(recipe.get("method", "full")):
        made.pop("learning_rate", None)
    return {**made, "method": method, **({"objectives": objectives} if objectives else {})}


def _check(variants):
    """Raises one UserError with what is wrong with any of the variants."""
    errors = []
    for variant in variants:
        try:
            recipes.check(variant.recipe, (FineTuner, FineTuner.fit), variant.name)
            _tuner(variant.recipe)
        except UserError as error:
            errors += str(error).splitlines()
    registry.raise_if(list(dict.fromkeys(errors)))


def _tuner(recipe):
    given, _ = recipes.parted(recipe, FineTuner.fit)
    if given.get("precision", "auto") == "auto":  # To find out would take hold of the devices, which the runs need.
        given["precision"] = "float32"
    return FineTuner(**given)


def _scored(tuner, recipe, test):
    """Returns the examples to score on, read and checked, and `test`, `held_back` and `digests` of the `Plan`."""
    given = {name: recipe.get(name) for name in ("data", "validation_data", "validation_split")}
    given["data"] = data_sources.load(given["data"])
    quarantine = clean.Quarantine(recipe.get("max_bad_rows", 0.0))
    train, validation = tuner.frames(*given.values(), quarantine)
    digests = [clean.digest(part) for part in (train, validation) if part is not None]
    if test is not None:
        frame = tuner.task.prepare(data_sources.load(test))
        return frame, test, {}, {"data": digests, "test": clean.digest(frame)}
    if validation is None:
        raise UserError(
            "A comparison needs examples to score on: give --test, validation_data or validation_split. "
            f"Received: {', '.join(recipe)}"
        )
    digests = {"data": digests, "test": digests[1]}
    if given["validation_data"] is not None:
        return validation, given["validation_data"], {}, digests
    # Not the prepared tables, whose columns have other names than the recipe says.
    parts = [given["data"].loc[part.index] for part in (train, validation)]
    return validation, parts[1], dict(zip(("data", "validation_data"), parts, strict=True)), digests


def _origin(frame, recipe, held_back):
    share = f"{recipe['validation_split']:.0%} held back of " if held_back else ""
    return f"{share}{frame.attrs.get('origin', 'data')} ({len(frame):,} examples)"


def _notes(recipe, variants, test):
    notes = []
    rate = recipe.get("learning_rate")
    others = [variant.name for variant in variants if "learning_rate" not in variant.recipe]
    if rate is not None and others:
        own = _name(recipe.get("method", "full"))
        notes.append(
            f"The recipe's learning rate, {run_folder.plain(rate)}, is for {own}; {', '.join(others)} had the default "
            "of the method."
        )
    if test is None:
        notes.append(
            "Each run kept the epoch that was best on the same examples, so all scores are a little too high: "
            "give --test for a score to publish."
        )
    return notes


def _described(spec):
    if not isinstance(spec, dict):
        return str(spec)
    arguments = ", ".join(f"{key}={_brief(value)}" for key, value in spec.items() if key != "name")
    return f"{spec.get('name')} {arguments}".strip()


def _brief(value):
    """Returns data or another part of a recipe by its path or its name, where it has one."""
    return value.get("path", value.get("name", value)) if isinstance(value, dict) else value


def _name(spec):
    return spec.get("name") if isinstance(spec, dict) else spec
