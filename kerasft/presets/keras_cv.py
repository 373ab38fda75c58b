"""`keras_cv:<name>`: backbones of KerasCV, whose last release is of 2024. New work finds them in KerasHub."""

import inspect

from kerasft.errors import UserError
from kerasft.presets import _tables
from kerasft.presets.base import Pretrained, image_size_of, modality_of, unknown


def load(name, weights=True):
    """Loads a KerasCV backbone. Most rescale pixels themselves, so that the converter only resizes.

    Args:
        name: str. Name in KerasCV's tables, such as `"resnet50_v2_imagenet"`.
        weights: bool. False for random weights; the architecture is downloaded all the same.

    Returns: Pretrained.
    Raises: UserError if there is no such preset, or it cannot be downloaded.
    """
    import keras_hub

    if name not in _rows():
        raise unknown(f"keras_cv:{name}")
    try:
        backbone = _class_of(name).from_preset(name, load_weights=weights)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"KerasCV could not load this preset: {error}. Without a network: a `starter:` preset, or a folder. "
            f"Received: backbone='keras_cv:{name}'"
        ) from error
    scale = None if backbone.include_rescaling else 1 / 255
    converter = keras_hub.layers.ImageConverter(image_size=image_size_of(backbone), scale=scale)
    return Pretrained(f"keras_cv:{name}", backbone, modality_of(backbone), converter)


def entries():
    """Returns an `Entry` for each preset with weights of KerasCV's image backbones."""
    return [_tables.entry(f"keras_cv:{name}", "image", row) for name, row in _rows().items()]


def _rows():
    """Returns the rows of presets that hold weights; the others are named after an architecture alone."""
    rows = _tables.rows("keras_cv", "src/models/backbones")
    return {name: row for name, row in rows.items() if name.endswith(("_imagenet", "_sa1b"))}


def _class_of(name):
    from keras_cv import models

    classes = [value for value in vars(models).values() if inspect.isclass(value) and hasattr(value, "presets")]
    return next(value for value in classes if name in value.presets)
