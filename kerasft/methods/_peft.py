"""Reads a LoRA that Hugging Face's PEFT saved."""

import os
import re

import numpy as np

from kerasft import hugging_face
from kerasft.errors import UserError
from kerasft.inspection import json_file, safetensors_file

# What a LoRA of PEFT's may have that ours has not, by its value where it is not used.
WITHOUT = {"bias": "none", "fan_in_fan_out": False, "rank_pattern": {}, "alpha_pattern": {}, "megatron_config": None}
KINDS = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_magnitude_vector": "length"}


def read(folder):
    """Returns the arguments of LoRA, and `{layer.path: {"a" | "b" | "length": array}}` in PEFT's shapes.

    Raises: UserError if the folder holds no LoRA, or one that is of another kind than ours.
    """
    config = _config(folder)
    arrays = _by_name(_arrays(folder), folder)
    family = hugging_face.family_with(arrays)
    if not arrays or family is None:
        raise UserError(
            "The adapter must be a LoRA of Dense layers in the blocks of a BERT, RoBERTa, DistilBERT, Llama, Mistral "
            f"or Qwen2. Received: {os.fspath(folder)!r} with {', '.join(sorted(arrays)[:3]) or 'no LoRA'}"
        )
    start = {family.path(name): values for name, values in arrays.items()}
    kinds = sorted({path.partition("/")[2] for path in start})
    arguments = {
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "dropout": config.get("lora_dropout", 0.0),
        "layers": rf"^transformer_layer_\d+/({'|'.join(kinds)})$",
    }
    options = {"scale_by_root": "use_rslora", "use_dora": "use_dora"}
    return {**arguments, **{ours: True for ours, theirs in options.items() if config.get(theirs)}}, start


def assign(pairs, start):
    """Gives the pairs `(layer, delta)` of a model their values.

    Raises: UserError if they are of other layers or shapes than the adapter.
    """
    paths = {layer.path for layer, _ in pairs}
    if paths != set(start):
        raise UserError(
            "The adapter is of other layers than this backbone has, or not of the same ones in all of its blocks. "
            f"Received: {sorted(paths ^ set(start))[:5]}"
        )
    for layer, delta in pairs:
        for name, values in start[layer.path].items():
            variable = getattr(delta, name)
            if values.size != np.prod(variable.shape):
                raise UserError(
                    f"The adapter is of a backbone of another width: {variable.path} has the shape "
                    f"{tuple(variable.shape)}. Received: {values.shape}"
                )
            variable.assign(values.T.reshape(variable.shape))


def _config(folder):
    path = os.path.join(folder, "adapter_config.json")
    if not os.path.isfile(path):
        raise UserError(f"No adapter of PEFT in this folder (adapter_config.json). Received: {os.fspath(folder)!r}")
    config = json_file.read(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a JSON object. Received: {type(config).__name__}")
    if config.get("peft_type") != "LORA":
        raise UserError(f"{path}: only a LoRA can be read. Received: peft_type={config.get('peft_type')!r}")
    for key, value in WITHOUT.items():
        if (config.get(key) or value) != value:
            raise UserError(f"{path}: {key} must be {value!r}. Received: {key}={config[key]!r}")
    return config


def _arrays(folder):
    from safetensors import SafetensorError
    from safetensors.tensorflow import load_file  # NumPy's has no bfloat16.

    path = os.path.join(folder, "adapter_model.safetensors")
    if os.path.exists(path):
        safetensors_file.shapes(path)
    try:
        return {name: np.asarray(value, "float32") for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read; pickled adapters are not. {error} Received: {path!r}") from error


def _by_name(arrays, folder):
    """Returns the arrays by the name of their layer and ours of the weight, without a head, which would fit none."""
    found = {}
    for key, value in arrays.items():
        match = re.fullmatch(rf"(?:base_model\.model\.)?(.+)\.({'|'.join(map(re.escape, KINDS))})", key)
        if match:
            found.setdefault(match[1], {})[KINDS[match[2]]] = value
        elif "lora_" in key:
            raise UserError(f"A weight of this kind cannot be read. Received: {key} in {os.fspath(folder)!r}")
    return found
