"""Writes what was measured: `metrics.json` for programs and `report.html` for people."""

import importlib.resources
import json
import math
import os
import string

import numpy as np

from kerasft import files
from kerasft.evaluation import _overview
from kerasft.evaluation._markup import escape


def write(evaluation, directory, title, facts, history=None):
    """Writes `metrics.json` and `report.html` into a folder, each whole or not at all.

    The page is one file without scripts or anything to load, so that it can be mailed, printed and kept.

    Args:
        evaluation: the `Evaluation` of a file of this folder.
        directory: str or path. Made if need be.
        title: str. Such as the name of the run.
        facts: dict of str to anything. What was trained, shown in this order.
        history: dict of lists, `keras.callbacks.History.history`, or None.
    """
    os.makedirs(directory, exist_ok=True)
    numbers = json.dumps(_plain(metrics(evaluation)), indent=1, ensure_ascii=False, allow_nan=False)
    # What no encoding can write, half of a surrogate pair in a label, stays an escape.
    _replace(os.path.join(directory, "metrics.json"), f"{numbers}\n".encode("utf-8", "backslashreplace"))
    page = html(evaluation, title, facts, history, directory)
    _replace(os.path.join(directory, "report.html"), page.encode())


def metrics(evaluation):
    """Returns the content of `metrics.json`: a dict of what an `Evaluation` has counted and measured."""
    return {
        "metrics": {name: estimate._asdict() for name, estimate in evaluation.metrics.items()},
        **evaluation.counted(),
    }


def html(evaluation, title, facts, history=None, directory="."):
    """Returns the page as a string, see `write`."""
    parts = [
        _overview.headline(evaluation, title),
        _overview.tiles(evaluation),
        _overview.trained(facts),
        _overview.learning_curves(history),
        *evaluation.sections(),
        _overview.reproduce(directory),
    ]
    template = importlib.resources.files("kerasft.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(title=escape(title), content="\n".join(parts))


def _plain(value):
    """Returns `value` as JSON can hold it; what is not finite becomes null, since JSON has no NaN."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path, content):
    with files.replaced(path) as partial, open(partial, "wb") as file:
        file.write(content)
