"""Learned vectors in front of the tokens."""

from typing import ClassVar

import keras
import numpy as np

from kerasft import deltas
from kerasft.checks import check_whole
from kerasft.methods.base import Method


class PromptTuning(Method):
    """Trains the embeddings of some tokens in front of each text, and the head.

    Very few weights. Weak on small backbones; nears `full` only from a billion weights on.

    Args:
        length: int, 1 or more. Tokens in front; they count towards `sequence_length`.
        text: str or None. Its tokens, repeated, are what the vectors begin as; None begins as tokens of the vocabulary.

    Raises: UserError for arguments out of range, or for a backbone that reads no tokens.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="prompt_tuning")
    Source: Lester, Al-Rfou & Constant 2021, https://arxiv.org/abs/2104.08691.
    """

    learning_rate: ClassVar[dict] = {"text": 3e-2}
    starts_as_pretrained = False

    def __init__(self, length=20, text=None):
        check_whole("prompt_tuning", "length", length)
        self.length = length
        self.text = text
        self.ids = None

    def prepare(self, preprocessor):
        deltas.reserve(preprocessor, self.length, "prompt_tuning")
        if self.text is not None:
            self.ids = np.resize(np.asarray(preprocessor.tokenizer(self.text)), self.length)

    def attach(self, model):
        layer = deltas.token_embedding(model, "prompt_tuning")
        if self.ids is None:
            self.ids = np.random.default_rng(0).integers(layer.input_dim, size=self.length)
        deltas.attach(layer, Prompt(self.ids))

    def apply(self, model):
        deltas.train_only(model)


class Prompt(deltas.Delta):
    """Puts learned vectors in the place of the first embeddings of each row.

    Args:
        ids: `(length,)` int. Tokens whose embeddings they begin as.
    """

    def __init__(self, ids):
        super().__init__(name="prompt")
        self.ids = ids

    def build_for(self, layer):
        self.vectors = self.add_weight(name="vectors", shape=(len(self.ids), layer.output_dim))
        self.vectors.assign(keras.ops.take(layer.embeddings, self.ids, axis=0))

    def call(self, inputs, outputs):
        return deltas.put_in_front(self.vectors, outputs)
