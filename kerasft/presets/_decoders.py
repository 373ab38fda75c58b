"""The tokenizers of decoders with byte-level BPE: KerasHub's classes, with the ids of `tokenizers`."""

from typing import Any

import keras
import keras_hub

from kerasft.presets._byte_level import ByteLevelTokenizer


@keras.saving.register_keras_serializable("kerasft")
class LlamaTokenizer(ByteLevelTokenizer, keras_hub.tokenizers.Llama3Tokenizer):
    """A `ByteLevelTokenizer` whose config has the special tokens; KerasHub's own comes back with others.

    Args:
        vocabulary: dict of str to int, or name of a JSON file.
        merges: list of str such as `"t h"`, or name of a file with one a line.
        bos_token, eos_token: str.
        misc_special_tokens: list of str. Further tokens that are read from strings as they are.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    Source: Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783.
    """

    def __init__(
        self,
        vocabulary=None,
        merges=None,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        misc_special_tokens=("<|start_header_id|>", "<|end_header_id|>"),
        **kwargs,
    ):
        # KerasHub takes tokens out of the set that it gets.
        super().__init__(vocabulary, merges, bos_token, eos_token, set(misc_special_tokens), **kwargs)
        self.misc_special_tokens = sorted(misc_special_tokens)

    def get_config(self):
        return {
            **super().get_config(),
            "bos_token": self.start_token,
            "eos_token": self.end_token,
            "misc_special_tokens": list(self.misc_special_tokens),
        }


def _exact(kind):
    """Returns a class of KerasHub's that splits texts as a `ByteLevelTokenizer`."""
    made = type(f"Exact{kind.__name__}", (ByteLevelTokenizer, kind), {"__doc__": ByteLevelTokenizer.__doc__})
    return keras.saving.register_keras_serializable("kerasft")(made)


# By Hugging Face's `model_type`.
TOKENIZERS = {
    "llama": LlamaTokenizer,
    "qwen2": _exact(keras_hub.tokenizers.QwenTokenizer),
    "qwen2_moe": _exact(keras_hub.tokenizers.QwenMoeTokenizer),
    "qwen3": _exact(keras_hub.tokenizers.Qwen3Tokenizer),
    "qwen3_moe": _exact(keras_hub.tokenizers.Qwen3MoeTokenizer),
    "smollm3": _exact(keras_hub.tokenizers.SmolLM3Tokenizer),
    "gpt_oss": _exact(keras_hub.tokenizers.GptOssTokenizer),
}
# What each does to a text in the presets that KerasHub has of it, whose own tokenizers split numbers and line breaks
# otherwise: as the `tokenizer.json` says that its authors published.
RULES: dict[str, dict[str, Any]] = {
    "llama": {"split": "llama3", "ignore_merges": True},
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), {"split": "qwen2", "compose": True}),
    "smollm3": {"split": "llama3", "ignore_merges": True},
    "gpt_oss": {"split": "o200k"},
}


def exact(tokenizer):
    """Returns the one of `TOKENIZERS` that takes the place of a tokenizer of KerasHub, or that one if none does."""
    for origin, kind in TOKENIZERS.items():
        if type(tokenizer) is kind.__bases__[1]:
            return kind(tokenizer.vocabulary, tokenizer.merges, **RULES[origin])
    return tokenizer
