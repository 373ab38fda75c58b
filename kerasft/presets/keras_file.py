"""A model in one file, as `model.save("….keras")` writes it, or in the older format `.h5`."""

import copy
import functools
import io
import os
from pathlib import Path

from kerasft.errors import UserError, guarded
from kerasft.inspection import archive, config, hdf5, json_file
from kerasft.presets import _building
from kerasft.presets.base import deserialize, functional, import_own_classes

ENDINGS = (".keras", ".h5", ".hdf5")
# Formats that run code when they are read, or that hold no Keras model.
REFUSED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".pb", ".npz", ".npy", ".safetensors")
WHOLE_FILE = "model_weights"


def is_file(identifier):
    """Returns True for a path of one file, by its ending."""
    return "://" not in identifier and identifier.lower().endswith(ENDINGS + REFUSED)


def load(name, weights=True):
    """Loads a functional image model after a look at what the file declares; nothing in it is run.

    Args:
        name: str. Path of a `.keras`, `.h5` or `.hdf5` file of a whole model.
        weights: bool. False for random weights.

    Returns: Pretrained.
    Raises: UserError if there is no such file, its format is none of these, or it names classes, places or sizes that
        no model of Keras needs; docs/loading.md lists them.
    """
    path = str(Path(name).expanduser())
    _check_name(path)
    read = _archive if path.lower().endswith(".keras") else _hdf5
    build, stored = read(path)
    with guarded("Keras cannot load this model", f"Received: backbone={name!r}"):
        _building.check_size(build, stored, path)
        model = _load(path) if weights else build()
        return functional(model)


def entries():
    """Returns nothing: files have no list."""
    return []


def _check_name(path):
    if path.lower().endswith(REFUSED):
        raise UserError(
            f"A file of this kind is not read: it may run code, or it holds no Keras model. Read are "
            f"{', '.join(ENDINGS)} and folders with model.safetensors; to use another, {config.OWN}. "
            f"Received: backbone={path!r}"
        )
    if not os.path.isfile(path):
        raise UserError(f"There is no such file. Received: backbone={path!r}")


def _archive(path):
    """Returns a function that builds the model of a `.keras` file, and the shapes of the arrays in it."""
    archive.check(path)
    found = json_file.parse(archive.read(path, archive.CONFIG), f"{path}, {archive.CONFIG}")
    # Left out when the model is loaded, so it may name what it likes.
    found = {**found, "compile_config": None} if isinstance(found, dict) else found
    weights = io.BytesIO(archive.read(path, archive.WEIGHTS))
    stored = hdf5.arrays(weights, f"{path}, {archive.WEIGHTS}")
    _check_config(found, stored, f"{path}, {archive.CONFIG}")
    return functools.partial(deserialize, found), list(stored.values())


def _hdf5(path):
    """Returns a function that builds the model of an `.h5` file, and the shapes of the arrays in it."""
    stored = hdf5.arrays(path, path)
    text = hdf5.text_attribute(path, path, "model_config")
    if text is None:
        raise UserError(f"The file holds no whole model, as model.save writes it. Received: backbone={path!r}")
    found = json_file.parse(text, f"{path}, model_config")
    _check_config(found, stored, f"{path}, model_config")
    kept = [shape for name, shape in stored.items() if name.startswith(f"{WHOLE_FILE}/")]
    return functools.partial(_legacy_model, found), kept


def _check_config(found, stored, origin):
    config.check(found, origin)
    config.check_counts(found, len(stored), origin)
    import_own_classes(found)


def _legacy_model(found):
    from kerasft import surgery

    return surgery.legacy_model(copy.deepcopy(found))


def _load(path):
    import keras

    return keras.saving.load_model(path, compile=False)
