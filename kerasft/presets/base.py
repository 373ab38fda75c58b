"""What every source of pretrained weights hands over, and the way from an identifier to it."""

import copy
import dataclasses
import functools
import importlib
import inspect
import json
import os
from typing import Any

from kerasft import registry
from kerasft.errors import UserError, guarded, nearest
from kerasft.inspection import config, json_file
from kerasft.presets import _building

ARCHITECTURE, ASSETS = "architecture.json", "assets"
DEFAULT_IMAGE_SIZE = (224, 224)


@dataclasses.dataclass
class Pretrained:
    """A backbone and the layer that turns raw input into what it reads.

    Attributes:
        name: str. The identifier it was loaded by, such as `"starter:minilm_l6_en"`.
        backbone: keras.Model. Text: inputs named `token_ids`, `padding_mask` and perhaps
            `segment_ids`, each `(batch, length)` int. Image: one input `(batch, height, width, channels)` float.
        modality: str. `"text"` or `"image"`.
        converter: keras.layers.Layer. Text: a KerasHub tokenizer, strings `(batch,)` to ragged ids.
            Image: pixels `(batch, height, width, 3)` 0 to 255 to what the backbone was trained on.
        causal: bool. True for decoders, whose last token has seen the whole text.
    """

    name: str
    backbone: Any
    modality: str
    converter: Any
    causal: bool = False

    def serialized(self, part):
        """Returns the config of `"backbone"` or `"converter"`, completed by what KerasHub's `get_config`s leave out.

        Without `tie_word_embeddings`, for one, a Llama comes back with one weight more.
        """
        return _serialize(getattr(self, part))


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of `kerasft presets`: what there is, and whether it is here already.

    Attributes:
        name: str. What to write as `backbone=…`.
        kind: str. Such as `"text encoder"`, `"text decoder"` or `"image"`.
        parameters: int or None. Number of weights.
        size_bytes: int or None. Size of the download.
        is_here: bool. True if no download is needed.
    """

    name: str
    kind: str
    parameters: int | None
    size_bytes: int | None
    is_here: bool


def resolve(identifier):
    """Loads a backbone and its converter.

    Args:
        identifier: str or path: `<source>:<name>` with a file of this folder as source, `kaggle://…`, `hf://…`, a
            folder, a `.keras` or `.h5` file, or the name of a KerasHub preset. A `Pretrained` is returned as it is. A
            keras.Model that reads images is given pixels 0 to 255 as they are.

    Returns: Pretrained.
    Raises: UserError if there is no such preset, or it cannot be had or read.
    Example: >>> resolve("starter:minilm_l6_en").backbone.count_params()
    """
    if isinstance(identifier, Pretrained):
        return identifier
    if not isinstance(identifier, (str, os.PathLike)):
        return functional(identifier)
    source, name = _source_of(os.fspath(identifier))
    return registry.find("presets", source, "load")(name)


def entries(word=None):
    """Returns every `Entry` there is, or those with `word` in the name or the kind. Imports no Keras."""
    found = [entry for source in registry.names("presets") for entry in registry.find("presets", source, "entries")()]
    return [entry for entry in found if word is None or word.lower() in f"{entry.name} {entry.kind}".lower()]


def unknown(identifier):
    """Returns the UserError for a name that no source has, with the nearest of all sources."""
    known = [entry.name for entry in entries()]
    return UserError(
        f"No preset has this name.{nearest(identifier, known)} `kerasft presets` lists all {len(known)}; "
        f"a folder, kaggle://… and hf://… do as well. Received: backbone={identifier!r}"
    )


def functional(model):
    """Returns the `Pretrained` of a functional `keras.Model` that reads pixels 0 to 255 as they are.

    Raises: UserError for any other object, for a model that reads text or grey images, and for one with several
        outputs.
    """
    import keras
    import keras_hub

    # A Sequential or subclassed model has no symbolic input for a head to be wired to.
    if not isinstance(model, keras.Model) or not hasattr(model, "input"):
        raise UserError(f"backbone must be a name, a folder, a Pretrained or a functional model. Received: {model!r}")
    if modality_of(model) == "text":
        raise UserError(
            "A text backbone needs its tokenizer: backbone=Pretrained(name, backbone, 'text', tokenizer) "
            f"from kerasft.presets.base. Received: {model.name}"
        )
    shape = tuple(model.inputs[0].shape)
    if shape[-1] not in (3, None):
        raise UserError(f"backbone must read images of 3 channels. Received: the input {shape} of {model.name}")
    # A head reads a tensor, and Keras keeps a list of one output as a list.
    if isinstance(model.output, (list, tuple, dict)) or model.output.shape[-1] is None:
        shapes = [tuple(output.shape) for output in model.outputs]
        raise UserError(
            f"backbone must have one output, in no list, with a number of channels. Received: {shapes} of {model.name}"
        )
    return Pretrained(model.name, model, "image", keras_hub.layers.ImageConverter(image_size=image_size_of(model)))


def modality_of(backbone):
    """Returns `"text"` or `"image"`, by the backbone's inputs.

    Raises: UserError if it reads anything else, or both.
    """
    inputs = backbone.input if isinstance(backbone.input, dict) else {"": backbone.input}
    if all(name.endswith(("_ids", "_mask")) for name in inputs):
        return "text"
    if len(inputs) == 1 and len(next(iter(inputs.values())).shape) == 4:
        return "image"
    raise UserError(
        "A backbone must read text (token_ids, padding_mask) or images (batch, height, width, channels). "
        f"Received: {backbone.name} with the inputs {sorted(inputs)}"
    )


def image_size_of(backbone):
    """Returns the `(height, width)` that an image backbone is built for, or 224 x 224 if it takes any."""
    size = tuple(backbone.inputs[0].shape[1:3])
    return DEFAULT_IMAGE_SIZE if None in size else size


def write_architecture(pretrained, directory):
    """Writes all of a `Pretrained` but its weights: `architecture.json`, and `assets/` with the vocabulary."""
    os.makedirs(os.path.join(directory, ASSETS), exist_ok=True)
    description = {"name": pretrained.name, "modality": pretrained.modality, "causal": pretrained.causal}
    for part in ("backbone", "converter"):
        description[part] = pretrained.serialized(part)
    with open(os.path.join(directory, ARCHITECTURE), "w", encoding="utf-8") as file:
        json.dump(description, file, indent=1)
    if hasattr(pretrained.converter, "save_assets"):
        pretrained.converter.save_assets(os.path.join(directory, ASSETS))


def read_architecture(directory, stored=None):
    """Builds a `Pretrained` from what `write_architecture` wrote, with random weights.

    Args:
        directory: path.
        stored: list of the shapes of all weights that belong to it, or None. A description of more than twice as many
            is refused: what a task does not read of a backbone, such as a pooler, is not saved.

    Raises: UserError if the folder holds none, it names a class that is not there or not allowed, or it describes
        more than is stored.
    """
    path, assets = os.path.join(directory, ARCHITECTURE), os.path.join(directory, ASSETS)
    description = _description(path)
    for name in os.listdir(assets) if os.path.isdir(assets) else ():
        if name.endswith(".json"):
            json_file.read(os.path.join(assets, name))
    with guarded(f"{path} does not describe a model", f"Received: {os.fspath(directory)!r}"):
        if stored is not None:
            config.check_counts(description["backbone"], len(stored), path)
            _building.check_size(functools.partial(deserialize, description["backbone"]), stored, path, tolerance=2)
        parts = {part: deserialize(description[part]) for part in ("backbone", "converter")}
        _check_parts(description["modality"], path, **parts)
        if hasattr(parts["converter"], "load_assets"):
            parts["converter"].load_assets(assets)
    return Pretrained(description["name"], modality=description["modality"], causal=description["causal"], **parts)


def deserialize(serialized):
    """Returns the object of a Keras config, which `inspection.config` has checked."""
    import keras

    import_own_classes(serialized)
    return keras.saving.deserialize_keras_object(copy.deepcopy(serialized))  # Keras changes the one that it gets.


def import_own_classes(serialized):
    """Imports the files of our classes if a Keras config names any, without which Keras does not know them.

    The classes of KerasHub and KerasCV Keras imports itself.
    """
    if "kerasft>" in json.dumps(serialized):
        for module in ("_albert", "_bert", "_converters", "_decoders", "_layer_scale", "_smollm2"):
            importlib.import_module(f"kerasft.presets.{module}")


def _description(path):
    """Returns what is in an `architecture.json`. Raises UserError unless all in it is of its kind."""
    if not os.path.isfile(path):
        raise UserError(f"{path} does not describe a model: there is no such file. Received: {path!r}")
    description = json_file.read(path, json_file.CONFIG_BYTES)
    kinds = {"name": str, "modality": str, "causal": bool, "backbone": dict, "converter": dict}
    given = description if isinstance(description, dict) else {}
    wrong = [key for key, kind in kinds.items() if not isinstance(given.get(key), kind)]
    if wrong or given["modality"] not in ("text", "image"):
        raise UserError(
            f"{path} does not describe a model: it holds {', '.join(kinds)}. Received: {', '.join(wrong) or 'modality'}"
        )
    for part in ("backbone", "converter"):
        config.check(description[part], f"{path}, {part}")
    return description


def _check_parts(modality, path, backbone, converter):
    import keras
    import keras_hub

    fits = isinstance(converter, keras_hub.tokenizers.Tokenizer) if modality == "text" else _converts_images(converter)
    if not isinstance(backbone, keras.Model) or not fits or modality_of(backbone) != modality:
        kinds = f"{type(backbone).__name__} and {type(converter).__name__}"
        raise UserError(f"{path} does not describe a model of {modality} and its converter. Received: {kinds}")


def _converts_images(converter):
    return hasattr(converter, "image_size")


def _source_of(identifier):
    source, colon, name = identifier.partition(":")
    if colon and source in registry.names("presets"):
        return source, name
    if importlib.import_module("kerasft.presets.keras_file").is_file(identifier):
        return "keras_file", identifier
    return "keras_hub", identifier


def _serialize(part):
    import keras

    serialized = keras.saving.serialize_keras_object(part)
    config = serialized["config"]
    for name in inspect.signature(type(part).__init__).parameters:
        value = getattr(part, name, None)
        if name not in config and isinstance(value, (bool, int, float, str)):
            config[name] = value
    if "stackwise_width_coefficients" in config:
        # This one EfficientNet does not even keep.
        width = config["stackwise_width_coefficients"][-1]
        config.setdefault("num_features", part.get_layer("top_conv").filters / width)
    return serialized
