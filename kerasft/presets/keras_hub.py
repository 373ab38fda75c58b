"""KerasHub presets by name, `kaggle://…`, `hf://…`, and folders: of Keras, or of Hugging Face with safetensors."""

import functools
import inspect
import os
from pathlib import Path

from kerasft.errors import UserError, guarded
from kerasft.inspection import config as configs
from kerasft.presets import _building, _files, _tables, _tokenizers
from kerasft.presets.base import Pretrained, image_size_of, import_own_classes, modality_of, unknown

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
POOLER = "pooler.dense.weight"
# Those of whose positions KerasHub takes over the base alone, and from `llama` Llama 3's scaling.
ROTARY = ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
LLAMA_3_ROTARY = {
    "factor": "rope_frequency_adjustment_factor",
    "low_freq_factor": "rope_low_freq_factor",
    "high_freq_factor": "rope_high_freq_factor",
    "original_max_position_embeddings": "rope_pretraining_sequence_length",
}
# What Hugging Face takes for a setting that a config leaves out, and what KerasHub computes, whatever the config says.
DEFAULTS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}
ROBERTA = {"hidden_act": ("gelu",), "layer_norm_eps": (1e-5,), "position_embedding_type": ("absolute",)}
FIXED: dict[str, dict[str, tuple]] = {
    "bert": {
        "hidden_act": ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
        "layer_norm_eps": (1e-12,),
        "position_embedding_type": ("absolute",),
    },
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
}


def load(name, weights=True):
    """Loads a preset with KerasHub.

    A BERT from Hugging Face becomes an `ExactBertBackbone` and, like a DistilBERT, gets an `ExactBertTokenizer`, an
    ALBERT an `ExactAlbertTokenizer`, a decoder with byte-level BPE, also of KerasHub's own presets, a
    `ByteLevelTokenizer`: outputs and ids equal those of the original. A RoBERTa's embedding of the token type, which
    KerasHub leaves out, is added to those of the positions.

    Args:
        name: str. Name in KerasHub's tables, `kaggle://…`, `hf://…`, or a folder, which must exist or begin with
            `./`, `../`, `/` or `~`.
        weights: bool. False for random weights; the tokenizer is loaded all the same.

    Returns: Pretrained.
    Raises: UserError if there is no such preset, its weights are pickled or quantized, it cannot be downloaded,
        KerasHub has no class for it or would make another model of it, or its files declare what no model needs;
        docs/loading.md says what that is.
    """
    preset = _checked(name, weights)
    end = f"Without a network: a `starter:` preset, or a folder. Received: backbone={name!r}"
    with guarded("KerasHub could not load this preset", end):
        return _load(name, preset, weights)


def entries():
    """Returns an `Entry` for each preset of KerasHub that reads text or images, or (`"multimodal"`) may."""
    listed = []
    for name, row in _tables.rows("keras_hub", "src/models").items():
        kind = _kind(row.folder)
        if kind:
            listed.append(_tables.entry(name, kind, row))
    return listed


def is_causal(backbone):
    """Returns True if KerasHub has a causal language model, not a sequence-to-sequence one, for this backbone."""
    from keras_hub import models

    tasks = [task for task in vars(models).values() if inspect.isclass(task) and issubclass(task, models.CausalLM)]
    classes = [getattr(task, "backbone_cls", None) for task in tasks if not issubclass(task, models.Seq2SeqLM)]
    return isinstance(backbone, tuple(found for found in classes if found))


def _load(name, preset, weights):
    config = _files.check(preset)
    import_own_classes(config)
    origin = config.get("model_type")  # only Hugging Face's configs have one
    _check_config(origin, config)
    if weights:
        _check_size(preset, config)
    backbone = _backbone(preset, config, weights)
    if origin == "roberta" and weights:
        _add_token_type(backbone, preset)
    modality = modality_of(backbone)
    converter = _tokenizers.load(preset, origin) if modality == "text" else _image_converter(preset, backbone)
    return Pretrained(name, backbone, modality, converter, causal=modality == "text" and is_causal(backbone))


def _check_config(origin, config):
    """Raises UserError if KerasHub would make another model of a config of Hugging Face than it describes."""
    for key, allowed in FIXED.get(origin, {}).items():
        value = config.get(key, DEFAULTS[key])
        if value not in allowed:
            choice = " or ".join(map(str, allowed))
            raise UserError(f"{origin} can only be loaded with {key} {choice}. Received: {key}={value!r}")
    # Of quantized weights KerasHub reads those of GPT-OSS alone.
    if origin and origin != "gpt_oss" and config.get("quantization_config"):
        raise UserError(
            f"{origin} can only be loaded with weights that are not quantized. "
            f"Received: quantization_config={config['quantization_config']!r}"
        )
    kind, allowed = _rotary(config)[0], ("default", "llama3") if origin == "llama" else ("default",)
    if origin in ROTARY and kind not in allowed:
        raise UserError(
            f"{origin} can only be loaded with positions of rope_type {' or '.join(allowed)}. "
            f"Received: rope_type={kind!r}"
        )


def _rotary(config):
    """Returns how rotary positions are scaled, such as `"default"`, and the numbers for it.

    transformers 5 calls them `rope_parameters`, and has the base in them; before it they were `rope_scaling`.
    """
    settings = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return settings.get("rope_type", settings.get("type", "default")), settings


def _check_size(preset, config):
    """Raises UserError if the config describes more than the weights. Layers of Hugging Face may share theirs."""
    stored = [shape for _, shape in _files.stored(preset, config)]
    configs.check_counts(config, len(stored), preset)
    build = functools.partial(_backbone, preset, config, weights=False)
    _building.check_size(build, stored, preset, tolerance=1 if _files.is_keras(config) else 2)


def _backbone(preset, config, weights):
    from keras_hub import models

    from kerasft import surgery

    origin = config.get("model_type")
    if origin == "bert" and config.get("hidden_act", "gelu") == "gelu":
        from kerasft.presets._bert import ExactBertBackbone

        # Hugging Face saves models that do not read the pooler, such as AutoModelForMaskedLM, without.
        has_pooler = not weights or any(name.endswith(POOLER) for name, _ in _files.stored(preset, config))
        return surgery.load_backbone(ExactBertBackbone, preset, weights, has_pooler)
    options = _llama_options(config) if origin == "llama" else {}
    return models.Backbone.from_preset(preset, load_weights=weights, **options)


def _llama_options(config):
    """Returns what KerasHub does not take over from the config of a Llama."""
    # KerasHub takes 1e-6 for every Llama: 2e-2 off in the logits of SmolLM2, which has 1e-5.
    options = {"layer_norm_epsilon": config.get("rms_norm_eps", 1e-6)}
    kind, settings = _rotary(config)
    if kind == "llama3":
        options |= {name: settings[key] for key, name in LLAMA_3_ROTARY.items()}
    return options


def _add_token_type(backbone, preset):
    from kerasft import surgery

    positions = backbone.embeddings.position_embedding.position_embeddings
    positions.assign(positions + surgery.hugging_face_tensor(preset, "embeddings.token_type_embeddings.weight")[0])


def _image_converter(preset, backbone):
    from keras_hub.layers import ImageConverter

    converter = ImageConverter.from_preset(preset)
    if converter is None:
        raise UserError(f"KerasHub does not know how images are made ready for it. Received: backbone={preset!r}")
    if converter.image_size is None:
        converter.image_size = image_size_of(backbone)
    return converter


def _checked(name, weights):
    """Returns what KerasHub calls the preset; raises if it is a folder that will not do, or an unknown name."""
    folder = Path(name).expanduser()
    if folder.is_dir() or name.startswith((".", "/", "~")):
        _check_folder(folder, weights)
        return str(folder.absolute())  # KerasHub takes a name such as `bert_tiny_en_uncased` for one of its own.
    if "://" not in name and name not in _tables.rows("keras_hub", "src/models"):
        raise unknown(name)
    return name


def _check_folder(folder, weights):
    if not folder.is_dir():
        raise UserError(f"There is no such folder. Received: backbone={str(folder)!r}")
    names = sorted(os.listdir(folder))
    if "saved_model.pb" in names:
        raise UserError(
            f"A SavedModel may run any operation of TensorFlow, also those that read and write files; {configs.OWN}. "
            f"Received: backbone={str(folder)!r}"
        )
    if "config.json" not in names:
        raise UserError(
            "A preset folder holds config.json and model.weights.h5 (Keras) or model.safetensors (Hugging Face). "
            f"Received: {str(folder)!r} with {', '.join(names) or 'nothing'}"
        )
    if weights and not any(name.endswith((".safetensors", ".weights.h5", ".weights.json")) for name in names):
        pickled = [name for name in names if name.endswith(PICKLED)]
        what = "Pickled weights can run code when they are read, so they are not" if pickled else "There are no weights"
        raise UserError(f"{what}; convert them to model.safetensors. Received: {str(folder)!r} with {', '.join(names)}")


def _kind(folder):
    """Tells what a family reads by the names of its files in KerasHub; None if it is neither text nor images."""
    has = {part for part in ("causal_lm", "seq_2_seq_lm", "tokenizer") if any(folder.glob(f"*_{part}.py"))}
    sees, hears = (any(folder.glob(f"*_{medium}_converter.py")) for medium in ("image", "audio"))
    if sees or hears:
        return None if not sees else "multimodal" if has else "image"
    if "seq_2_seq_lm" in has:
        return "text encoder-decoder"
    if "causal_lm" in has:
        return "text decoder"
    return "text encoder" if has else None
