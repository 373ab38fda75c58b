"""`applications:<name>`: the ImageNet models of `keras.applications`, named as there but in lower case."""

import os
import re
import warnings
from pathlib import Path

from kerasft.errors import UserError
from kerasft.presets.base import Entry, Pretrained, unknown

# The image size that each was trained with, in pixels; Keras states it only inside the functions.
IMAGE_SIZES = {
    **dict.fromkeys(("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"), 224),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), 224),
    **{"EfficientNetB0": 224, "EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300},
    **{"EfficientNetB4": 380, "EfficientNetB5": 456, "EfficientNetB6": 528, "EfficientNetB7": 600},
    **{"EfficientNetV2B0": 224, "EfficientNetV2B1": 240, "EfficientNetV2B2": 260, "EfficientNetV2B3": 300},
    **{"EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480},
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), 299),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"), 224),
    **{"NASNetMobile": 224, "NASNetLarge": 331},
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"), 224),
    **dict.fromkeys(("VGG16", "VGG19"), 224),
}
BUILDERS = {name.lower(): name for name in IMAGE_SIZES}
# Families whose weights have other paths once the model was built from its config, as that of a saved run is.
RENAMED = ("convnext", "nasnet")


def load(name, weights=True):
    """Builds a model of `keras.applications` without its top.

    Args:
        name: str, such as `"efficientnetb0"`; the case does not matter.
        weights: bool. False for random weights, which needs no download.

    Returns: Pretrained.
    Raises: UserError if there is no such model, or its weights cannot be downloaded.
    """
    import keras

    from kerasft.presets._converters import ApplicationsConverter

    if name.lower() not in BUILDERS:
        raise unknown(f"applications:{name}")
    builder = getattr(keras.applications, BUILDERS[name.lower()])
    family, size = builder.__module__.rpartition(".")[2], IMAGE_SIZES[builder.__name__]
    backbone = _build(builder, "imagenet" if weights else None)
    if family in RENAMED:
        backbone = _rebuilt(backbone)
    converter = ApplicationsConverter(family, (size, size))
    return Pretrained(f"applications:{name.lower()}", backbone, "image", converter)


def entries():
    """Returns an `Entry` for each model; its number of weights is known only once it is built."""
    files = _downloaded()
    return [Entry(f"applications:{name}", "image", None, None, _is_downloaded(name, files)) for name in BUILDERS]


def _build(builder, weights):
    try:
        with warnings.catch_warnings():
            # MobileNet warns that for images of any size it takes the weights of 224 x 224, which are the ones meant.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            return builder(include_top=False, weights=weights)
    except Exception as error:
        # Keras raises no narrower class when a download fails.
        if "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"The weights could not be downloaded: {error}. Without a network: a `starter:` preset, or the file in "
            f"{_cache()}. Received: backbone='applications:{builder.__name__.lower()}'"
        ) from error


def _rebuilt(backbone):
    import keras

    from kerasft.presets._layer_scale import LayerScale

    def clone(layer):
        kind = LayerScale if type(layer).__name__ == "LayerScale" else type(layer)
        return kind.from_config(layer.get_config())

    again = keras.models.clone_model(backbone, clone_function=clone)
    for new, old in zip(again.weights, backbone.weights, strict=True):
        new.assign(old)
    return again


def _cache():
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "models")


def _downloaded():
    """Returns the names of downloaded weights without a top, only their letters and digits."""
    names = (re.sub("[^a-z0-9]", "", path.stem.lower()) for path in _cache().glob("*.h5"))
    return [name for name in names if "notop" in name]


def _is_downloaded(name, files):
    # `mobilenet` is not `mobilenet_v2`, nor `resnet50` `resnet50v2`.
    return any(re.match(rf"(weights)?{name}(?!v\d)", file) for file in files)
