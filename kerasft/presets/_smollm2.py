"""SmolLM2: a Llama with tied embeddings, and a byte-level tokenizer with single digits."""

import keras
import keras_hub

from kerasft.presets._byte_level import ByteLevelTokenizer

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"


@keras.saving.register_keras_serializable("kerasft")
class SmolLM2Backbone(keras_hub.models.LlamaBackbone):
    """Llama whose config says whether the embeddings are tied; KerasHub's own forgets it, and then cannot be loaded.

    Source: Allal et al. 2025, https://arxiv.org/abs/2502.02737.
    """

    def get_config(self):
        return {**super().get_config(), "tie_word_embeddings": self.tie_word_embeddings}


@keras.saving.register_keras_serializable("kerasft")
class SmolLM2Tokenizer(ByteLevelTokenizer):
    """A `ByteLevelTokenizer` that splits digits from each other.

    Args:
        vocabulary: dict of str to int, or name of a JSON file.
        merges: list of str such as `"t h"`, or name of a file with one a line.
        unsplittable_tokens: list of str. Tokens to be read from strings as they are; a chat template needs them.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    """

    backbone_cls = SmolLM2Backbone

    def __init__(self, vocabulary=None, merges=None, unsplittable_tokens=(), split="smollm2", **kwargs):
        # No start token: chat templates write their own, and plain text was trained on without.
        self.start_token_id = self.end_token_id = self.pad_token_id = None
        super().__init__(vocabulary, merges, unsplittable_tokens=list(unsplittable_tokens), split=split, **kwargs)

    def set_vocabulary_and_merges(self, vocabulary, merges):
        super().set_vocabulary_and_merges(vocabulary, merges)
        if self.vocabulary is not None:
            self.end_token_id, self.pad_token_id = self.vocabulary[END], self.vocabulary[PAD]
