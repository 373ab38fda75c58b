"""The files of a preset, looked at before KerasHub reads them: its configs, and what its weights declare."""

import os

from kerasft.inspection import config, hdf5, json_file, safetensors_file
from kerasft.inspection.limits import refused

CONFIG = "config.json"
# What KerasHub reads for a backbone and its tokenizer or image converter: of its own presets, and of Hugging Face's.
KERAS = ("tokenizer.json", "image_converter.json")
KERAS_ASSETS = ("assets/tokenizer/vocabulary.json",)
HUGGING_FACE = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "preprocessor_config.json")
# The list of the files that weights are spread over, if they are, and the one file if they are not.
KERAS_WEIGHTS = ("model.weights.json", "model.weights.h5")
HUGGING_FACE_WEIGHTS = ("model.safetensors.index.json", "model.safetensors")


def file_of(preset, name):
    """Returns the local path of a file of a preset, downloaded if need be, or None if it has no such file."""
    from kerasft import surgery

    return surgery.preset_file(preset, name)


def is_keras(found):
    """Returns True if a `config.json` is that of a preset of KerasHub, which says so in the same way."""
    return isinstance(found, dict) and "registered_name" in found


def check(preset):
    """Returns the `config.json` of a preset after a look at its JSON files, which are downloaded if need be.

    Raises: UserError if one of them is not JSON, or names what `inspection.config` refuses. An error of KerasHub's if
        there is no such preset.
    """
    path = file_of(preset, CONFIG)
    found = json_file.read(path or os.path.join(preset, CONFIG), json_file.CONFIG_BYTES)
    if is_keras(found):
        config.check(found, path)
    for name in (*KERAS, *KERAS_ASSETS) if is_keras(found) else HUGGING_FACE:
        if path := file_of(preset, name):
            value = json_file.read(path)
            if is_keras(found) and name in KERAS:
                config.check(value, path)
    if not isinstance(found, dict):
        raise refused(preset, f"{CONFIG} must be a JSON object", found)
    return found


def stored(preset, found):
    """Returns the names and shapes of all arrays in the files of weights of a preset, whose `config.json` is `found`.

    Raises: UserError if one of them is missing, damaged, or declares more than it can hold.
    """
    index, single = KERAS_WEIGHTS if is_keras(found) else HUGGING_FACE_WEIGHTS
    names = [single]
    # KerasHub prefers the one file of its own presets, and the list of Hugging Face's.
    if not (is_keras(found) and file_of(preset, single)):
        listed = file_of(preset, index)
        names = _listed(listed) if listed else names
    arrays = []
    for name in names:
        path = file_of(preset, name) or os.path.join(preset, name)
        arrays += (hdf5.arrays(path, path) if is_keras(found) else safetensors_file.shapes(path)).items()
    return arrays


def _listed(path):
    """Returns the names of the files that weights are spread over."""
    found = json_file.read(path)
    entries = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise refused(path, "it must hold a weight_map", found)
    names = {name for value in entries.values() for name in (value if isinstance(value, list) else [value])}
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", "..") or "\\" in name:
            raise refused(path, "weights lie in files beside it", name)
    return sorted(names)
