"""Turns the files of a starter wheel into a folder that `keras_hub.load` reads. One function each."""

import os
import re

import numpy as np

# How the tensors of a Llama are called: in GGUF, and in KerasHub below `transformer_layer_<n>/`.
LLAMA_BLOCK = {
    "attn_norm": "self_attention_layernorm/scale",
    "attn_q": "self_attention/query/kernel",
    "attn_k": "self_attention/key/kernel",
    "attn_v": "self_attention/value/kernel",
    "attn_output": "self_attention/attention_output/kernel",
    "ffn_norm": "feedforward_layernorm/scale",
    "ffn_gate": "feedforward_gate_dense/kernel",
    "ffn_up": "feedforward_intermediate_dense/kernel",
    "ffn_down": "feedforward_output_dense/kernel",
}
LLAMA_ENDS = {"token_embd": "token_embedding/embeddings", "output_norm": "sequence_output_layernorm/scale"}
# EfficientNet-Lite0 as trained with TensorFlow: padding is SAME, which pads more at the end, and epsilon is 1e-3.
LITE0 = {
    "stackwise_width_coefficients": [1.0] * 7,
    "stackwise_depth_coefficients": [1.0] * 7,
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "stackwise_squeeze_and_excite_ratios": [0] * 7,
    # "v1" pads alike on all sides, which is SAME for a stride of 1; "unfused" has no block without expansion.
    "stackwise_block_types": ["v1"] + ["unfused"] * 6,
    "activation": "relu6",
    "include_stem_padding": False,
    "stem_conv_padding": "same",
    "min_depth": None,
    "use_depth_divisor_as_min_depth": True,
    "cap_round_filter_decrease": True,
    "batch_norm_momentum": 0.99,
    "batch_norm_epsilon": 1e-3,
}
LITE0_PIXELS = {
    "image_size": (224, 224),
    "scale": 1 / 128,
    "offset": -127 / 128,
    "crop_to_aspect_ratio": True,
    "interpolation": "bicubic",
    "antialias": True,
}


def minilm(files, folder):
    """Moves the files: KerasHub reads a Hugging Face folder as it is."""
    for path in files.iterdir():
        os.replace(path, folder / path.name)


def efficientnet_lite0(files, folder):
    """Converts a PyTorch state dict of EfficientNet-Lite0 that was trained with TensorFlow.

    KerasHub's own layout of Lite0, which is timm's, would be 6.0 off in the features: see `LITE0`.

    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
    """
    from keras_hub.layers import EfficientNetImageConverter
    from keras_hub.models import EfficientNetBackbone

    from kerasft.presets import _torch_pickle

    backbone = EfficientNetBackbone(**LITE0)
    state = _torch_pickle.read(next(files.glob("*.pth")))
    # Both list the weights from the input upwards; the classifier is not part of the backbone.
    arrays = [array for name, array in state.items() if not name.endswith("num_batches_tracked") and "_fc" not in name]
    for variable, array in zip(backbone.weights, arrays, strict=True):
        if array.ndim == 4:
            array = array.transpose((2, 3, 0, 1) if "dwconv" in variable.path else (2, 3, 1, 0))
        variable.assign(array)
    backbone.save_to_preset(folder)
    EfficientNetImageConverter(**LITE0_PIXELS).save_to_preset(folder)


def smollm2(files, folder):
    """Converts a GGUF Llama with tied embeddings and a byte-level tokenizer; the weights are stored as float16.

    Their rounding is a hundredth of the file's own 4-bit steps: 0.04 in logits of up to 37.
    """
    from kerasft.presets._gguf import GGUF
    from kerasft.presets._smollm2 import SmolLM2Backbone, SmolLM2Tokenizer

    gguf = GGUF(next(files.glob("*.gguf")))
    known = {key.removeprefix("llama."): value for key, value in gguf.metadata.items()}
    backbone = SmolLM2Backbone(
        vocabulary_size=known["vocab_size"],
        num_layers=known["block_count"],
        num_query_heads=known["attention.head_count"],
        num_key_value_heads=known["attention.head_count_kv"],
        hidden_dim=known["embedding_length"],
        intermediate_dim=known["feed_forward_length"],
        rope_max_wavelength=known["rope.freq_base"],
        layer_norm_epsilon=round(known["attention.layer_norm_rms_epsilon"], 12),
        tie_word_embeddings=True,
        dtype="float16",
    )
    variables = {variable.path: variable for variable in backbone.weights}
    for name in gguf.tensors:
        variable = variables.pop(_keras_path(name))
        variable.assign(_llama_array(gguf, name, backbone).reshape(variable.shape))
    if variables:
        raise ValueError(f"{gguf.path} lacks weights. Received: none for {sorted(variables)[:5]}")
    backbone.save_to_preset(folder)
    vocabulary = {token: index for index, token in enumerate(known["tokenizer.ggml.tokens"])}
    SmolLM2Tokenizer(vocabulary, known["tokenizer.ggml.merges"]).save_to_preset(folder)
    (folder / "chat_template.jinja").write_text(known["tokenizer.chat_template"], encoding="utf-8")


def _keras_path(name):
    """Returns the path of the Keras weight for `blk.3.attn_q.weight` and its like."""
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if block:
        return f"transformer_layer_{block[1]}/{LLAMA_BLOCK[block[2]]}"
    return LLAMA_ENDS[name.removesuffix(".weight")]


def _llama_array(gguf, name, backbone):
    """Returns a tensor the way Keras lays it out: inputs first, and the two halves of a rotated head apart."""
    array = gguf.array(name)
    if array.ndim == 1 or name == "token_embd.weight":
        return array
    if ".attn_q." in name or ".attn_k." in name:
        heads = backbone.num_query_heads if ".attn_q." in name else backbone.num_key_value_heads
        # llama.cpp interleaves what is rotated together: x0 y0 x1 y1 for Keras's x0 x1 y0 y1.
        array = array.reshape(heads, -1, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
    return np.ascontiguousarray(array.T)
