"""Finished runs that can be averaged: what they must have in common, and the weights of each."""

import os

from kerasft import deltas, weights
from kerasft import recipe as recipes
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner, load
from kerasft.inspection import run, safetensors_file

OWN = {*recipes.parameters(FineTuner), *recipes.parameters(FineTuner.fit)}
# Arguments of tasks that change how a run is trained, not what its model computes.
TRAINING_ONLY = ("dropout", "columns", "threshold")  # The last is chosen after training, see `Average.scores`.


class Runs:
    """Runs of one task, backbone and method, one of which at a time is in memory.

    Where a method's own weights can be merged into those of the backbone, they are, before anything is averaged: the
    average of two low-rank updates is not the product of their averaged factors. What comes of it is a run of the
    method `full`.

    Args:
        directories: sequence of paths of run folders.

    Attributes:
        directories: list of str.
        first: FineTuner. The first run, as it was trained.
        is_merged: bool. True if weights of a method's own are merged.

    Raises: UserError if a folder is no finished run, or its run differs from the first; names what differs.
    """

    def __init__(self, directories):
        self.directories = [os.fspath(directory) for directory in directories]
        self._check({directory: _description(directory) for directory in self.directories})
        self.first = load(self.directories[0])
        found = [delta for _, delta in deltas.of(self.first.model)]
        self.is_merged = bool(found) and all(delta.can_merge for delta in found)
        if found:  # How they are read is in the arguments too, such as the alpha of LoRA.
            self._check({directory: {"method": _recipe(directory)["method"]} for directory in self.directories})

    def tuner(self, pretrained=False):
        """Returns a FineTuner for the weights that `values` returns: the first run, or a new one if it has others.

        With `pretrained` it is new in any case, and its backbone as it was before all fine-tuning.
        """
        if not (self.is_merged or pretrained):
            return self.first
        made = FineTuner(**{**self.first.arguments, **({"method": "full"} if self.is_merged else {})})
        made._restored = None if pretrained else self.first._restored
        return made

    def values(self, directory):
        """Returns `{path: array}` of all that a run has learned, merged where that can be."""
        from safetensors.numpy import load_file

        path = os.path.join(directory, "weights.safetensors")
        if not self.is_merged:
            return load_file(path)
        model, saved = self.first.model, weights.paths(path)
        weights.load(path, {name: variable for name, variable in weights.by_path(model).items() if name in saved})
        own = {id(variable) for _, delta in deltas.of(model) for variable in delta.weights}
        with deltas.merged(model):
            found = weights.by_path(model)
            return {name: variable.numpy() for name, variable in found.items() if id(variable) not in own}

    def _check(self, found):
        first = found[self.directories[0]]
        for directory, description in found.items():
            for name, value in description.items():
                if value != first[name]:
                    raise UserError(
                        f"{directory} cannot be averaged with {self.directories[0]}: another {name}. "
                        f"Received: {_difference(value, first[name])}"
                    )


def _recipe(directory):
    return recipes.read(os.path.join(directory, "recipe.yaml"))


def _description(directory):
    """Returns what runs that are averaged must have in common, by the name that an error calls it."""
    manifest, recipe = run.manifest(directory), _recipe(directory)
    task, method = _named(recipe["task"]), _named(recipe.get("method", "full"))
    task |= {name: value for name, value in recipe.items() if name not in OWN}
    shapes = safetensors_file.shapes(os.path.join(directory, "weights.safetensors"))
    return {
        "task": {name: value for name, value in task.items() if name not in (*TRAINING_ONLY, "labels")},
        "list of labels": task.get("labels"),
        "backbone": recipe["backbone"],
        "method": method["name"],
        "set of weights": dict(sorted(shapes.items())),
        "version of the backbone": manifest["base"],
    }


def _named(value):
    return dict(value) if isinstance(value, dict) else {"name": value}


def _difference(ours, theirs):
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return f"{ours!r} and {theirs!r}"
    name = next(name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name))
    return f"{name}: {ours.get(name)!r} and {theirs.get(name)!r}"
