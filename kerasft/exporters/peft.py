"""A LoRA in the layout of Hugging Face's PEFT: `PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)`.

Of `causal_lm` it is for `AutoModelForCausalLM`.
"""

import json
import os

import numpy as np

from kerasft import deltas, hugging_face, registry
from kerasft.errors import UserError
from kerasft.exporters.base import new_folder


def write(tuner, path):
    """Writes `adapter_config.json` and `adapter_model.safetensors`, for the base model without a head (`AutoModel`).

    Those of `causal_lm` are for the base model with its language head (`AutoModelForCausalLM`).

    PEFT keeps a trained head under the name it has in one of transformers' classifiers. None of these is ours, which
    averages the tokens where BERT's has a pooler, or has a bias where Llama's has none. So the head is a file of its
    own beside the adapter, which PEFT ignores: `head.safetensors`, a `torch.nn.Linear`'s `weight` and `bias`, and what
    else it has under our names, such as the `pairs` of a chain, which count 50 times. The metadata say which of our
    heads it is (`head`), what it reads (`pooling`), which class is which (`labels`, JSON), and the task's arguments
    (`task`, JSON), such as the mean and the deviation by which a regression's outputs are scaled.

    Args:
        tuner: FineTuner of method lora, on a BERT, RoBERTa, DistilBERT, Llama, SmolLM2, Mistral or Qwen2.
        path: str. A folder that does not exist yet.

    Raises: UserError for another method or backbone, a layer that PEFT has no name for, or if `path` exists.
    Source: https://huggingface.co/docs/peft/developer_guides/checkpoint; checked by `benchmarks/peft_parity.py`.
    """
    from safetensors.numpy import save_file

    with new_folder(path) as folder:
        arrays, config = _arrays(tuner), _config(tuner)
        save_file(arrays, os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
        _write_head(tuner, os.path.join(folder, "head.safetensors"))
        with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2)


def _arrays(tuner):
    arrays = {}
    for name, delta in _named(tuner):
        rank, own = delta.rank, f"base_model.model.{name}"
        arrays[f"{own}.lora_A.weight"] = _transposed(delta.a.numpy().reshape(-1, rank))
        arrays[f"{own}.lora_B.weight"] = _transposed(delta.b.numpy().reshape(rank, -1))
        if delta.use_dora:
            arrays[f"{own}.lora_magnitude_vector"] = delta.length.numpy().reshape(-1)
    return arrays


def _config(tuner):
    (_, delta), *_ = named = _named(tuner)
    method = tuner.method
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if tuner.task.converses else "FEATURE_EXTRACTION",
        "base_model_name_or_path": _base(tuner.arguments["backbone"]),
        "r": method.rank,
        "lora_alpha": method.alpha or 2 * method.rank,
        "lora_dropout": method.dropout,
        "use_rslora": getattr(method, "scale_by_root", False),
        "use_dora": delta.use_dora,
        # In full: PEFT takes the end of a name, and in BERT "output.dense" is the end of two.
        "target_modules": [name for name, _ in named],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def _named(tuner):
    """Returns pairs of Hugging Face's name of a layer and its delta."""
    if not isinstance(tuner.method, registry.find("methods", "lora")):
        raise UserError(f"Only lora can be written for PEFT. Received: method={tuner.arguments['method']!r}")
    family = hugging_face.family_of(tuner.pretrained.backbone)
    if family is None:
        known = ", ".join(name for family in hugging_face.FAMILIES for name in family.backbones)
        kind = type(tuner.pretrained.backbone).__name__
        raise UserError(f"PEFT's names of layers are known for {known}. Received: {kind}")
    named = [(family.name(layer.path), layer.path, delta) for layer, delta in deltas.of(tuner.model)]
    unknown = [path for name, path, _ in named if name is None]
    if unknown:
        raise UserError(f"Only the blocks' own Dense layers have a name in PEFT. Received: a LoRA of {unknown[0]}")
    prefix = "model." if tuner.task.converses else ""  # Within that with a language head.
    return [(prefix + name, delta) for name, _, delta in sorted(named, key=lambda row: row[0])]


def _write_head(tuner, path):
    from safetensors.numpy import save_file

    head, task = tuner.model.head, tuner.task
    arrays = {variable.path.removeprefix(f"{head.name}/"): variable.numpy() for variable in head.weights}
    if not arrays:
        return
    if hasattr(head, "logits"):
        arrays |= {"weight": _transposed(arrays.pop("logits/kernel")), "bias": arrays.pop("logits/bias")}
    metadata = {"head": type(head).__name__, "pooling": str(head.pooling), "labels": json.dumps(task.labels)}
    save_file(arrays, path, {**metadata, "task": json.dumps(task.get_config(), default=str)})


def _base(backbone):
    """Returns what transformers would call the base, or None where it has no name for it."""
    if not isinstance(backbone, (str, os.PathLike)):
        return None
    name = os.fspath(backbone)
    if name.startswith("hf://"):
        return name.removeprefix("hf://")
    return name if os.path.isdir(os.path.expanduser(name)) else None


def _transposed(matrix):
    return np.ascontiguousarray(matrix.T)
