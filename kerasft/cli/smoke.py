"""`--smoke`: any recipe in seconds, to see whether it runs at all."""

from kerasft import recipe as recipes
from kerasft import registry
from kerasft.data import base

ROWS = 64


def shrunk(recipe):
    """Returns the recipe with one epoch, few rows and short texts; backbone, task and method stay what they are.

    So do the images' sizes: many backbones are built for one.
    """
    is_dict, task = isinstance(recipe["task"], dict), _task(recipe)
    made = {**recipe, "epochs": 1, "batch_size": 16, "name": "smoke", "directory": None}
    rows = ROWS
    if made.get("validation_split"):
        made["validation_split"], rows = 0.5, 2 * ROWS
    made["data"] = _first_rows(made["data"], task, rows)
    if made.get("validation_data") is not None:
        made["validation_data"] = _first_rows(made["validation_data"], task, ROWS)
    if "sequence_length" in recipes.parameters(registry.find("tasks", task["name"])):
        made = recipes.fill(made, {("task." if is_dict else "") + "sequence_length": 32})
    return made


def few(data, recipe):
    """Returns at most so many examples of other data for the task of a recipe, such as those to score on."""
    return _first_rows(data, _task(recipe), ROWS)


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
