"""Reads the preset tables of KerasHub and KerasCV from their source files, for importing either takes seconds."""

import ast
import dataclasses
import importlib.util
import os
from pathlib import Path

from kerasft.presets.base import Entry


@dataclasses.dataclass(frozen=True)
class Row:
    """A preset as its package lists it.

    Attributes:
        parameters: int or None.
        handle: str. Where it lies on Kaggle: `keras/bert/keras/bert_tiny_en_uncased/3`.
        folder: Path of the package's folder for this family.
    """

    parameters: int | None
    handle: str
    folder: Path


def rows(package, models):
    """Returns `{name: Row}` of all `*_presets.py` in the folder `models` of an installed package, `{}` if it is not."""
    specification = importlib.util.find_spec(package)
    if specification is None or not specification.submodule_search_locations:
        return {}
    found = {}
    for path in sorted(Path(specification.submodule_search_locations[0], models).rglob("*_presets.py")):
        for name, preset in _literals(path).items():
            parameters = preset.get("metadata", {}).get("params")
            if "kaggle_handle" in preset:
                found[name] = Row(parameters, preset["kaggle_handle"].removeprefix("kaggle://"), path.parent)
    return found


def entry(name, kind, row):
    """Returns the `Entry` of a row."""
    return Entry(name, kind, row.parameters, None, _is_downloaded(row.handle))


def _literals(path):
    """Returns the union of all dicts written out at the top of a Python file."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            # No key is how `**other` appears; `other` is a dict of its own.
            found.update({ast.literal_eval(key): ast.literal_eval(value) for key, value in pairs if key is not None})
    return found


def _is_downloaded(handle):
    """Returns True if kagglehub marked the weights of a model as complete, in this version or, without one, in any."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub", "models")
    *variation, version = handle.split("/") if handle.count("/") == 4 else [*handle.split("/"), "*"]
    marks = cache.joinpath(*variation, ".complete")
    return marks.is_dir() and any(marks.glob(f"{version}/model.weights*.complete"))
