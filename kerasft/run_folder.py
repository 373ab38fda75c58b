"""The folder of a run: what is in it, and how it is written and read."""

import contextlib
import datetime
import functools
import glob
import importlib.metadata
import json
import os
import platform
import subprocess
import warnings

import keras
import numpy as np

from kerasft import __version__, files, registry, surgery, weights
from kerasft import recipe as recipes
from kerasft.errors import UserError, guarded
from kerasft.inspection import config, run, safetensors_file
from kerasft.inspection.limits import refused
from kerasft.presets import base as presets
from kerasft.training import optimizer, store

HEADER = "Written by kerasft: the arguments of FineTuner and fit."
# What a run writes before its manifest.
OWN = (".lock", "architecture", "checkpoint", "logs", "recipe.yaml", "weights.safetensors", "labels.json")
OWN += ("history.json", "samples", "metrics.json", "report.html", "quarantine.csv")
FIT_ARGUMENTS = ("data", "validation_data", "validation_split", "max_bad_rows", "epochs", "batch_size", "callbacks")
TRAINING_ARGUMENTS = ("optimizer", "schedule", "objectives")


def choose(directory, resume, recipe, is_default=False):
    """Returns the folder to train in; writes nothing.

    Args:
        directory: path.
        resume: str. `"auto"`, or `"never"` to leave what is there as it is and take a folder with a number.
        recipe: dict, as `FineTuner.recipe`.
        is_default: bool. True if the user chose no folder: if this one cannot be had, one with a number is taken.

    Raises: UserError if it holds a finished run, an interrupted one that may not be continued, or other files.
    """
    wanted = directory = os.fspath(directory)
    obstacle, number = _obstacle(directory, resume, recipe), 1
    while obstacle and (is_default or (resume == "never" and os.path.isdir(wanted))):
        number += 1
        directory = f"{wanted}-{number}"
        obstacle = _obstacle(directory, resume, recipe)
    if obstacle:
        raise UserError(f"{obstacle} Received: directory={directory!r}")
    return directory


@contextlib.contextmanager
def claimed(directory, recipe):
    """Makes the folder of a run, with the recipe in it, and keeps other processes out of it for a while.

    The system gives the lock back when the process ends, whatever ends it.

    Raises: UserError if another process has it, or had it and left what may not be overwritten.
    """
    import filelock

    os.makedirs(directory, exist_ok=True)
    lock = filelock.FileLock(os.path.join(directory, ".lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(f"Another process is training in this folder. Received: directory={directory!r}") from None
    try:
        if obstacle := _obstacle(directory, "auto", recipe):  # Of a process that had the folder until now.
            raise UserError(f"{obstacle} Received: directory={directory!r}")
        recipes.write(recipe, os.path.join(directory, "recipe.yaml"), HEADER)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.remove(lock.lock_file)  # While it is ours: who opens it later makes another.
        lock.release()


def empty(directory):
    """Returns `directory`. Raises UserError if there is anything in it, which saving would overwrite."""
    if os.path.exists(directory) and not (os.path.isdir(directory) and not os.listdir(directory)):
        raise UserError(f"There is something here already; choose another folder. Received: directory={directory!r}")
    return directory


def clear_checkpoint(directory):
    """Removes the state of the unfinished run, once the finished one is written."""
    store.of_run(directory).clear()


def write_quarantine(directory, quarantine):
    """Writes `quarantine.csv`, the rows that are not trained on, or removes that of an earlier attempt if none are."""
    path = os.path.join(directory, "quarantine.csv")
    if quarantine.problems:
        with files.replaced(path) as partial:
            quarantine.write(partial)
    elif os.path.exists(path):
        os.remove(path)


def write(tuner, directory):
    """Writes a run, the manifest last: a folder with a manifest is whole.

    Weights are those that learned; with a backbone that has no name, or where all learned, the folder needs no other
    source. `architecture/` rebuilds backbone and preprocessing without the preset.
    """
    os.makedirs(directory, exist_ok=True)
    presets.write_architecture(tuner.pretrained, os.path.join(directory, "architecture"))
    delta = _delta(tuner)
    weights.save(os.path.join(directory, "weights.safetensors"), delta)
    recipes.write(tuner.recipe, os.path.join(directory, "recipe.yaml"), HEADER)
    _write_json(os.path.join(directory, "labels.json"), tuner.task.labels)
    _write_json(os.path.join(directory, "history.json"), getattr(tuner, "history", {}))
    _write_samples(tuner, directory)
    base = [v for path, v in weights.by_path(tuner.model).items() if path not in delta]
    own = {"is_delta": bool(base), "base": weights.fingerprint(base) if base else None, "facts": tuner.facts}
    _write_manifest(directory, own)


def read(directory, make):
    """Returns the FineTuner of a folder, made by `make(**recipe)`, with its weights in place.

    Raises: UserError if the folder is no whole run, or its files declare more than a run needs; docs/loading.md says
        what that is.
    """
    manifest = run.manifest(directory)
    with guarded("This run cannot be read", f"Received: directory={directory!r}"):
        return _read(directory, make, manifest)


def write_report(tuner, evaluation, frame):
    """Writes `metrics.json` and `report.html` of the latest evaluation.

    Returns: the path of the page, or None, with a warning, if the folder cannot be written to.
    """
    from kerasft.evaluation import report

    facts = {**tuner.facts, "evaluated on": f"{frame.attrs.get('origin', 'data')} ({len(frame):,} examples)"}
    try:
        history = getattr(tuner, "history", None)
        report.write(evaluation, tuner.directory, title=tuner.name, facts=facts, history=history)
    except OSError as error:
        warnings.warn(f"The report of this evaluation could not be written ({error}).", stacklevel=2)
        return None
    return os.path.join(tuner.directory, "report.html")


def facts(tuner, settings, train):
    """Returns what the report and the manifest say of a training, in words."""
    rows = weights.trainable_table(tuner.model)
    total, learned = sum(row[1] for row in rows), sum(row[2] for row in rows)
    return {
        "task": _name(tuner.arguments["task"]),
        "backbone": tuner.pretrained.name,
        "method": _name(tuner.arguments["method"]),
        "weights trained": f"{learned:,} of {total:,} ({learned / total:.2%})",
        "trained on": f"{train.attrs.get('origin', 'data')} ({len(train):,} examples)",
        "data digest": settings.digest,
        "epochs": settings.epochs,
        "batch size": settings.batch_size,
        **({"rows computed at once": tuner.model.rows_at_once} if tuner.model.rows_at_once else {}),
        "learning rate": optimizer.stated_rate(settings),
        **({"learning rate after it diverged": "a tenth"} if settings.rate_factor < 1 else {}),
        "precision": tuner.policy,
        "seed": settings.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        **({"git commit": commit} if (commit := _commit()) else {}),
    }


def versions():
    """Returns the versions that a result depends on."""
    names = ("tensorflow", "keras", "keras-hub")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"kerasft": __version__, **found, "python": platform.python_version()}


def plain(value):
    """Returns `value` as YAML can hold it: a plug-in as the dict that makes it, other objects as `{"object": name}`."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (presets.Pretrained, keras.Model)):
        return value.name
    described = None if isinstance(value, optimizer.OBJECTS) else registry.describe(value)
    return {"object": type(value).__name__} if described is None else plain(described)


def describable(callbacks):
    """Returns those callbacks that a recipe can name; of the others an interrupted run may have different ones."""
    return [callback for callback in callbacks if registry.describe(callback) is not None]


def _read(directory, make, manifest):
    path = os.path.join(directory, "weights.safetensors")
    shapes = safetensors_file.shapes(path)
    tuner = make(**_checked_arguments(directory, shapes))
    if not manifest["is_delta"]:
        architecture = os.path.join(directory, "architecture")
        tuner._restored = functools.partial(presets.read_architecture, architecture, list(shapes.values()))
    variables = weights.by_path(tuner.model)
    weights.load(path, {name: v for name, v in variables.items() if name in shapes or not manifest["is_delta"]})
    if manifest["is_delta"]:
        _check_base(tuner, set(shapes), manifest, directory)
    tuner.directory, tuner.facts = os.path.abspath(directory), manifest["facts"]
    tuner.history = run.history(directory)
    run.check_labels(directory, tuner.task.labels)
    tuner.samples = _read_samples(tuner, directory)
    surgery.set_dtype_policy(tuner.model, "float32")
    return tuner


def _delta(tuner):
    # A backbone that came out of a run folder, or without a name, cannot be had again by its name.
    found = weights.by_path(tuner.model)
    if not isinstance(tuner.arguments["backbone"], str) or tuner._restored is not None:
        return found
    # What the method chose has learned, also if it was frozen by hand since.
    learned = tuner.model.chosen | weights.learned(tuner.model).keys()
    return {path: variable for path, variable in found.items() if path in learned}


def _check_base(tuner, saved, manifest, directory):
    base = [v for path, v in weights.by_path(tuner.model).items() if path not in saved]
    if weights.fingerprint(base) != manifest["base"]:
        raise UserError(
            f"{directory} was trained on another version of the backbone {tuner.pretrained.name!r}: its frozen weights "
            f"differ. Received: directory={directory!r}"
        )


def _obstacle(directory, resume, recipe):
    """Returns why a run of `recipe` cannot be written to `directory`, or None."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        return "This is a file; choose another name."
    found = os.listdir(directory) if os.path.isdir(directory) else []
    if "manifest.json" in found:
        return "The folder holds a finished run; choose another."
    others = sorted(name for name in found if name.removesuffix(".partial") not in OWN)
    if "recipe.yaml" in found and not _is_own_recipe(os.path.join(directory, "recipe.yaml")):
        others.append("recipe.yaml")
    if others:
        return f"The folder holds other files ({', '.join(others[:5])}); choose a new one."
    return _continuation_obstacle(directory, resume, recipe)


def _continuation_obstacle(directory, resume, recipe):
    if not store.of_run(directory).numbers():
        return None
    if resume == "never":
        return "The folder holds an interrupted run."
    before = recipes.read(os.path.join(directory, "recipe.yaml"))
    changed = sorted(key for key in {*before, *recipe} if before.get(key) != recipe.get(key))
    lines = [f"{key}: was {before.get(key)!r}, now {recipe.get(key)!r}" for key in changed]
    if lines:
        return (
            "The folder holds an interrupted run of another recipe; choose another, or start anew beside it with "
            f"resume='never' (--fresh). {'; '.join(lines)}."
        )
    return None


def _is_own_recipe(path):
    with open(path, "rb") as file:
        return file.readline().strip() == f"# {HEADER}".encode()


def _arguments(recipe):
    """Returns the arguments of the FineTuner of a saved run.

    The devices it was trained on may not be here, and how it was trained may have been an object, of which only the
    name is known; neither matters to a model that is trained.
    """
    left_out = {*FIT_ARGUMENTS, "distribution"}
    left_out |= {name for name in TRAINING_ARGUMENTS if _holds_object(recipe.get(name))}
    return {name: value for name, value in recipe.items() if name not in left_out}


def _checked_arguments(directory, shapes):
    """Returns `_arguments` of a folder's recipe, or raises UserError if they ask for more than its weights are.

    A rank, a bottleneck, a number of prompts or of classes is a side of some weight that was saved.
    """
    path = os.path.join(directory, "recipe.yaml")
    arguments = _arguments(recipes.read(path))
    if not all(isinstance(name, str) for name in arguments):
        raise refused(path, "keys must be words", next(name for name in arguments if not isinstance(name, str)))
    labels = arguments.get("labels")
    sizes = [arguments.get("method"), {"length": len(labels) if isinstance(labels, list) else 0}]
    config.check_sides(sizes, shapes.values(), path)
    return arguments


def _holds_object(value):
    return any(isinstance(item, dict) and "object" in item for item in (value if isinstance(value, list) else [value]))


def _write_samples(tuner, directory):
    samples = tuner.samples
    if samples is None:
        return
    folder = os.path.join(directory, "samples")
    os.makedirs(folder, exist_ok=True)
    request = tuner.task.request(samples)
    for name in _sampled(tuner.task):
        values = request[name] if tuner.task.modality == "image" else samples[name]
        for number, value in enumerate(values):
            with open(os.path.join(folder, f"{name}.{number}"), "wb") as file:
                file.write(_written(value))


def _sampled(task):
    """Returns the names of what is kept of samples: of images their bytes, as they are served."""
    return task.signature() if task.modality == "image" else task.sampled


def _written(value):
    """Returns an image, a text or else what JSON can hold as bytes."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _read_samples(tuner, directory):
    """Returns the samples as a prepared frame of the task's inputs, or None."""
    columns = []
    for name in _sampled(tuner.task):
        found = sorted(glob.glob(os.path.join(glob.escape(directory), "samples", f"{name}.*")), key=_number)
        columns.append([_bytes(path) for path in found])
    if not columns or not columns[0]:
        return None
    rows = list(zip(*columns, strict=True))
    if tuner.task.modality == "text":
        rows = [tuple(value.decode() for value in row) for row in rows]
    frame = tuner.task.frame_of([row[0] if len(row) == 1 else row for row in rows])
    return tuner.task.prepare(frame, with_targets=False)


def _number(path):
    return int(path.rsplit(".", 1)[1])


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def _write_manifest(directory, own):
    names = sorted(glob.glob("**", root_dir=directory, recursive=True))
    kept = [name for name in names if os.path.isfile(os.path.join(directory, name)) and run.is_part(name)]
    manifest = {
        "format": run.FORMAT,
        **own,
        "versions": versions(),
        "saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sha256": {name: files.sha256(os.path.join(directory, name)) for name in kept},
    }
    _write_json(os.path.join(directory, "manifest.json"), manifest)


def _write_json(path, value):
    with files.replaced(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _commit():
    """Returns the git commit of the working folder, with `-dirty` if files differ from it; empty if there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    return ""


def _name(value):
    if isinstance(value, dict):
        return value.get("name", "")
    return value if isinstance(value, str) else type(value).__name__
