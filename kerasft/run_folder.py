"""The folder of a run: what is in it, and how it is written and read."""

import datetime
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil

import numpy as np
import yaml

from kerasft import __version__, surgery, weights
from kerasft.errors import UserError
from kerasft.presets import base as presets
from kerasft.training import checkpoint

FORMAT = 1
FIT_ARGUMENTS = ("data", "validation_data", "validation_split", "epochs", "batch_size")


def claim(directory, resume, recipe, is_default=False):
    """Returns the folder to train in, made, with the recipe in it.

    Raises: UserError if it holds a finished run, or an interrupted one that may not be continued.
    """
    directory = os.fspath(directory)
    if is_default:
        directory = _first_free(directory)
    if os.path.exists(os.path.join(directory, "manifest.json")):
        raise UserError(f"The folder holds a finished run; choose another. Received: directory={directory!r}")
    done, _ = checkpoint.read(os.path.join(directory, "checkpoint"))
    if done:
        _check_continuation(directory, resume, recipe)
    os.makedirs(directory, exist_ok=True)
    _write_text(os.path.join(directory, "recipe.yaml"), yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    return directory


def clear_checkpoint(directory):
    """Removes the state of the unfinished run, once the finished one is written."""
    shutil.rmtree(os.path.join(directory, "checkpoint"), ignore_errors=True)


def write(tuner, directory):
    """Writes a run, the manifest last: a folder with a manifest is whole.

    Weights are those that learned; with a backbone that has no name, or where all learned, the folder needs no other
    source. `architecture/` rebuilds backbone and preprocessing without the preset.
    """
    os.makedirs(directory, exist_ok=True)
    presets.write_architecture(tuner.pretrained, os.path.join(directory, "architecture"))
    delta = _delta(tuner)
    weights.save(os.path.join(directory, "weights.safetensors"), delta)
    _write_text(
        os.path.join(directory, "recipe.yaml"), yaml.safe_dump(tuner.recipe, sort_keys=False, allow_unicode=True)
    )
    _write_json(os.path.join(directory, "labels.json"), tuner.task.labels)
    _write_json(os.path.join(directory, "history.json"), getattr(tuner, "history", {}))
    _write_samples(tuner, directory)
    base = [v for v in tuner.model.weights if v.path not in delta]
    own = {"is_delta": bool(base), "base": weights.fingerprint(base) if base else None, "facts": tuner.facts}
    _write_manifest(directory, own)


def read(directory, make):
    """Returns the FineTuner of a folder, made by `make(**recipe)`, with its weights in place."""
    manifest = verified_manifest(directory)
    with open(os.path.join(directory, "recipe.yaml"), encoding="utf-8") as file:
        recipe = yaml.safe_load(file)
    tuner = make(**{key: value for key, value in recipe.items() if key not in FIT_ARGUMENTS})
    architecture = os.path.join(directory, "architecture")
    if not manifest["is_delta"]:
        tuner._restored = lambda: presets.read_architecture(architecture)
    path = os.path.join(directory, "weights.safetensors")
    saved = weights.paths(path)
    variables = {v.path: v for v in tuner.model.variables}
    weights.load(path, {name: variables[name] for name in saved if name in variables})
    if manifest["is_delta"]:
        _check_base(tuner, saved, manifest, directory)
    tuner.directory, tuner.facts = directory, manifest["facts"]
    with open(os.path.join(directory, "history.json"), encoding="utf-8") as file:
        tuner.history = json.load(file)
    tuner.samples = _read_samples(tuner, directory)
    surgery.set_dtype_policy(tuner.model, "float32")
    return tuner


def verified_manifest(directory):
    """Returns the manifest of a run folder after checking the SHA-256 of every file it names.

    Raises: UserError if there is none, or a file is missing or changed.
    """
    path = os.path.join(directory, "manifest.json")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"No finished run in this folder ({error}). Received: directory={directory!r}") from error
    if manifest.get("format") != FORMAT:
        raise UserError(f"{path}: this kerasft reads run format {FORMAT}. Received: format={manifest.get('format')!r}")
    for name, digest in manifest["sha256"].items():
        file_path = os.path.join(directory, name)
        if not os.path.isfile(file_path) or _sha256(file_path) != digest:
            raise UserError(f"{file_path} is missing or was changed since it was saved. Received: {file_path!r}")
    return manifest


def write_report(tuner, evaluation, frame):
    """Writes `metrics.json` and `report.html` of the latest evaluation and updates the manifest, if there is one."""
    from kerasft.evaluation import report

    facts = {**tuner.facts, "evaluated on": f"{frame.attrs.get('origin', 'data')} ({len(frame):,} examples)"}
    report.write(evaluation, tuner.directory, title=tuner.name, facts=facts, history=getattr(tuner, "history", None))
    path = os.path.join(tuner.directory, "manifest.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        _write_manifest(tuner.directory, {name: manifest[name] for name in ("is_delta", "base", "facts")})


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
        "epochs": settings.epochs,
        "batch size": settings.batch_size,
        "learning rate": settings.learning_rate,
        "precision": tuner.policy,
        "seed": settings.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


def versions():
    """Returns the versions that a result depends on."""
    names = ("tensorflow", "keras", "keras-hub")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"kerasft": __version__, **found, "python": platform.python_version()}


def learned_arguments(tuner):
    """Returns the task's arguments that `fit` found out, such as the labels."""
    return {"labels": tuner.task.labels} if getattr(tuner.task, "labels", None) else {}


def plain(value):
    """Returns `value` as YAML can hold it; an object becomes its name, which `load` refuses with a clear message."""
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in kept.items() if item != []}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return getattr(value, "name", None) or type(value).__name__


def _delta(tuner):
    if isinstance(tuner.arguments["backbone"], str):
        return weights.learned(tuner.model)
    return {v.path: v for v in tuner.model.weights}


def _check_base(tuner, saved, manifest, directory):
    base = [v for v in tuner.model.weights if v.path not in saved]
    if weights.fingerprint(base) != manifest["base"]:
        raise UserError(
            f"{directory} was trained on another version of the backbone {tuner.pretrained.name!r}: its frozen weights "
            f"differ. Received: directory={directory!r}"
        )


def _check_continuation(directory, resume, recipe):
    if resume == "never":
        raise UserError(f"The folder holds an interrupted run. Received: directory={directory!r}, resume='never'")
    with open(os.path.join(directory, "recipe.yaml"), encoding="utf-8") as file:
        before = yaml.safe_load(file)
    changed = sorted(key for key in {*before, *recipe} if before.get(key) != recipe.get(key))
    if changed:
        lines = [f"{key}: was {before.get(key)!r}, now {recipe.get(key)!r}" for key in changed]
        raise UserError(
            "The folder holds an interrupted run of another recipe; choose another folder. "
            f"{'; '.join(lines)}. Received: directory={directory!r}"
        )


def _first_free(directory):
    candidate, number = directory, 1
    while os.path.exists(os.path.join(candidate, "manifest.json")):
        number += 1
        candidate = f"{directory}-{number}"
    return candidate


def _write_samples(tuner, directory):
    samples = getattr(tuner, "samples", None)
    if samples is None:
        return
    arrays = tuner.task.request(samples)
    folder = os.path.join(directory, "samples")
    os.makedirs(folder, exist_ok=True)
    for name, values in arrays.items():
        for number, value in enumerate(values):
            with open(os.path.join(folder, f"{name}.{number}"), "wb") as file:
                file.write(value.encode() if isinstance(value, str) else value)


def _read_samples(tuner, directory):
    """Returns the samples as a frame of the task's inputs, or None."""
    columns = []
    for name in tuner.task.signature():
        found = sorted(glob.glob(os.path.join(glob.escape(directory), "samples", f"{name}.*")), key=_number)
        columns.append([_bytes(path) for path in found])
    if not columns or not columns[0]:
        return None
    rows = list(zip(*columns, strict=True))
    if tuner.task.modality == "text":
        rows = [tuple(value.decode() for value in row) for row in rows]
    return tuner.task.frame_of([row[0] if len(row) == 1 else row for row in rows])


def _number(path):
    return int(path.rsplit(".", 1)[1])


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def _write_manifest(directory, own):
    names = sorted(glob.glob("**", root_dir=directory, recursive=True))
    kept = [name for name in names if os.path.isfile(os.path.join(directory, name)) and _belongs(name)]
    manifest = {
        "format": FORMAT,
        **own,
        "versions": versions(),
        "saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sha256": {name: _sha256(os.path.join(directory, name)) for name in kept},
    }
    _write_json(os.path.join(directory, "manifest.json"), manifest)


def _belongs(name):
    """True for the files of the run itself; logs and exports in the same folder live their own lives."""
    return name.split(os.sep)[0] not in ("manifest.json", "logs", "export", "checkpoint")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path, value):
    _write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_text(path, text):
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.partial", path)


def _name(value):
    if isinstance(value, dict):
        return value.get("name", "")
    return value if isinstance(value, str) else type(value).__name__
