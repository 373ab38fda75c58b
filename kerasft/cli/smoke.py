"""`--smoke`: any recipe in seconds, to see whether it runs at all."""

from kerasft import recipe as recipes
from kerasft import registry
from kerasft.data import base

ROWS = 64


def shrunk(recipe):
    """Returns the recipe with as few epochs as its methods can do with, few rows and short texts.

    Backbone and task stay what they are. So do the images' sizes: many backbones are built for one.
    """
    is_dict, task = isinstance(recipe["task"], dict), _task(recipe)
    made, epochs = _without_epochs(recipe)
    if variants := [_without_epochs(part) for part in recipes.variants(recipe)]:
        made[recipes.VARIANT] = {"choice": [part for part, _ in variants]}
    epochs = max([epochs, *(needed for _, needed in variants)])
    made |= {"epochs": epochs, "batch_size": 16, "name": "smoke", "directory": None}
    rows = ROWS
    if made.get("validation_split"):
        made["validation_split"], rows = 0.5, 2 * ROWS
    made["data"] = _first_rows(made["data"], task, rows)
    if made.get("validation_data") is not None:
        made["validation_data"] = _first_rows(made["validation_data"], task, ROWS)
    if "sequence_length" in recipes.parameters(registry.find("tasks", task["name"])):
        made = recipes.fill(made, {("task." if is_dict else "") + "sequence_length": 32})
    return made


def short(method):
    """Returns a method with stages of one epoch, and how many epochs it needs.

    Args:
        method: as in recipes, or a choice of such.
    """
    given = method if isinstance(method, dict) else {"name": method}
    name, stages = given.get("name"), given.get("stages")
    if "choice" in given:
        found = [short(one) for one in given["choice"]]
        return {"choice": [one for one, _ in found]}, max((needed for _, needed in found), default=1)
    if name == "lp_ft":
        return method, _most(given.get("probe_epochs", 1)) + 1
    if name == "stages" and isinstance(stages, list) and stages and all(isinstance(stage, dict) for stage in stages):
        found = [short(stage.get("method")) for stage in stages]
        stages = [{**stage, "method": one, "epochs": n} for stage, (one, n) in zip(stages, found, strict=True)]
        stages[-1].pop("epochs")  # What is left: other methods of the same recipe may need more.
        return {**given, "stages": stages}, sum(needed for _, needed in found)
    return method, 1


def few(data, recipe):
    """Returns at most so many examples of other data for the task of a recipe, such as those to score on."""
    return _first_rows(data, _task(recipe), ROWS)


def _without_epochs(recipe):
    """Returns a recipe, or a variant, without its own epochs and with a short method, and how many that needs."""
    made, needed = {key: value for key, value in recipe.items() if key != "epochs"}, 1
    if "method" in made:
        made["method"], needed = short(made["method"])
    return made, needed


def _most(value):
    return max(value.get("choice") or [value["max"]]) if isinstance(value, dict) else value


def _task(recipe):
    return recipe["task"] if isinstance(recipe["task"], dict) else {**recipe, "name": recipe["task"]}


def _first_rows(data, task, rows):
    """Returns at most so many rows: the first of each class, four at least while there is room."""
    frame = base.load(data)
    label = (task.get("columns") or {}).get("label", "label")
    if label not in frame:
        return frame.head(rows)
    classes = frame[label].astype(str)
    return frame.groupby(classes, sort=False).head(max(4, rows // classes.nunique())).head(rows)
