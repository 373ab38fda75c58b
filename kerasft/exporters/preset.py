"""The backbone as a KerasHub preset, from which another task starts: `backbone="saved_models/legal"`."""

import json
import os

from kerasft import deltas
from kerasft.errors import UserError
from kerasft.exporters.base import new_folder


def write(tuner, path):
    """Writes the backbone with what it has learned, LoRA and IA3 merged, and its tokenizer or image converter.

    KerasHub loads the folder too (`keras_hub.models.Backbone.from_preset`), if kerasft is imported. It has no head.

    Args:
        tuner: FineTuner of a method that changes weights of the backbone's own, or of one that can be merged.
        path: str. A folder that does not exist yet.

    Raises: UserError if the method put layers into the backbone that no preset has, if the backbone is none of
        KerasHub's, or if `path` exists.
    Example: >>> tuner.export("saved_models/legal", "preset")
    """
    model, pretrained = tuner.model, tuner.pretrained
    added = sorted({delta.name for _, delta in deltas.of(model) if not delta.can_merge})
    if added:
        raise UserError(
            f"A preset has no {added[0]}: only lora and ia3 can be merged. Received: {tuner.arguments['method']!r}"
        )
    if not hasattr(pretrained.backbone, "save_to_preset"):
        raise UserError(
            "Only a whole backbone of KerasHub's makes a preset; of an encoder with a decoder, all tasks but seq2seq "
            f"have the encoder alone. Received: backbone={pretrained.name!r}"
        )
    with new_folder(path) as folder, deltas.merged(model):
        pairs = deltas.take_off(model)
        try:
            pretrained.backbone.save_to_preset(folder)
            pretrained.converter.save_to_preset(folder)
            _complete(os.path.join(folder, "config.json"), pretrained.serialized("backbone"))
        finally:
            for layer, delta in pairs:
                deltas.put_on(layer, delta)


def _complete(path, serialized):
    """Adds to the Keras config in a file what only `serialized` has, which KerasHub could not load it without."""
    with open(path, encoding="utf-8") as file:
        description = json.load(file)
    description["config"] = {**serialized["config"], **description["config"]}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(description, file, indent=4)
