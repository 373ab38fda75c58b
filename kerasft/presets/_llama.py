"""Llama 3's tokenizer with a config that tells its special tokens."""

import keras
import keras_hub


@keras.saving.register_keras_serializable("kerasft")
class LlamaTokenizer(keras_hub.tokenizers.Llama3Tokenizer):
    """KerasHub's tokenizer of Llama 3, whose config has the special tokens; the original's comes back with others.

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
