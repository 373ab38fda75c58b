"""The language of a domain: an encoder reads its texts on, before it learns a task."""

import functools
from typing import ClassVar

import pandas as pd
import tensorflow as tf

from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.pipeline import masks
from kerasft.tasks._head import MaskedTokenHead
from kerasft.tasks._language import LanguageTask
from kerasft.tasks._text import EDGE_CASES, check_sequence_length, text_preprocessor

BEST, ROWS = 5, 32  # Tokens that are told; texts that are asked at once.


class MaskedLm(LanguageTask):
    """Teaches an encoder the language of texts (`text`): words are hidden, others in each epoch, and it says which.

    Of 15 % of the words, hidden as wholes, 80 % of the tokens become the mask, 10 % another token, 10 % stay. A long
    text becomes several rows. `export(path, "preset")` then gives a backbone that other tasks start from. `predict`
    says what stands for the first `[MASK]` of a text.

    Args:
        share: float above 0 and below 1. Of words that are hidden.
        seed: int. Of which words are.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        columns: dict. The data's names for ours, such as `{"text": "abstract"}`.

    Example: >>> kerasft.FineTuner("masked_lm", "bert_base_en_uncased").fit("reports.txt")
    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1; before other tasks: Gururangan et al.
        2020, https://arxiv.org/abs/2004.10964.
    """

    inputs = ("text",)
    target: ClassVar[str] = "text"
    head_class = MaskedTokenHead

    def __init__(self, share=0.15, seed=0, sequence_length=None, **kwargs):
        super().__init__(**kwargs)
        check("masked_lm", "share", share, 0, 1, low_is_allowed=False)
        check_sequence_length(sequence_length)
        self.share = share
        self.seed = seed
        self.sequence_length = sequence_length

    # === Data ===

    def served(self, frame):
        """Returns the texts with the word in the middle hidden."""
        return pd.DataFrame({"text": pd.Series([_hidden(text)[0] for text in frame["text"]], frame.index, object)})

    def shown(self, frame):
        """Returns the same, and the hidden word as `token`."""
        return self.served(frame).assign(token=[_hidden(text)[1] for text in frame["text"]])

    # === Model ===

    def preprocessor(self, pretrained):
        is_encoder = not pretrained.causal and "token_ids" in pretrained.backbone.input
        if not is_encoder or getattr(pretrained.converter, "mask_token_id", None) is None:
            raise UserError(f"masked_lm needs an encoder with a mask token. Received: backbone={pretrained.name!r}")
        return text_preprocessor(pretrained, self.sequence_length, masks.MaskPreprocessor)

    def examples(self, frame, preprocessor, with_targets=True):
        return masks.tokenize(preprocessor, frame["text"].array, self.share, self.seed)

    # === Answers ===

    def serve(self, model, preprocessor, text):
        inputs = preprocessor.dense(preprocessor.rows(text))
        features = model(inputs, training=False)
        is_mask = tf.cast(inputs["token_ids"] == preprocessor.tokenizer.mask_token_id, "int32")
        found = tf.reduce_any(is_mask > 0, axis=1)
        # A request of no texts has no width.
        features, is_mask = tf.pad(features, [[0, 0], [0, 1], [0, 0]]), tf.pad(is_mask, [[0, 0], [0, 1]])
        logits = self.next_token.logits(tf.gather(features, tf.argmax(is_mask, axis=1), batch_dims=1))
        return self.decode(logits, found, preprocessor.tokenizer)

    def decode(self, outputs, found, tokenizer):
        """Returns `token` and `score` (batch,), the likeliest for the first mask, and `tokens`, `scores` (batch, BEST).

        Of a text without a mask, these are empty strings and 0.

        Args:
            outputs: `(batch, vocabulary)` logits. found: `(batch,)` bool, whether there is a mask.
        """
        chances, ids = tf.math.top_k(tf.nn.softmax(outputs), BEST)
        texts = tf.strings.strip(tokenizer.detokenize(tf.RaggedTensor.from_tensor(tf.reshape(ids, (-1, 1)))))
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")  # A token may be a part of a letter.
        texts = tf.where(found[:, None], tf.reshape(texts, tf.shape(ids)), "")
        scores = tf.where(found[:, None], chances, 0.0)
        return {"token": texts[:, 0], "score": scores[:, 0], "tokens": texts, "scores": scores}

    def generated(self, model, preprocessor, frame):
        """Returns what `decode` does for the texts of a frame."""
        ask = tf.function(functools.partial(self.serve, model, preprocessor), autograph=False)
        texts = frame["text"].tolist()
        parts = [ask(tf.constant(texts[begin : begin + ROWS])) for begin in range(0, len(texts), ROWS)]
        return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}

    snapshot = generated

    def edge_cases(self):
        return self.frame_of([*EDGE_CASES, "a [MASK] b [MASK]", "[MASK]", "x[MASK]."])

    def evaluation_arguments(self):
        return {}

    def get_config(self):
        own = {"share": self.share, "seed": self.seed, "sequence_length": self.sequence_length}
        return {**super().get_config(), **own}


def _hidden(text):
    """Returns a text with the word in its middle hidden, and the word."""
    words = text.split()
    middle = len(words) // 2
    return " ".join([*words[:middle], masks.MASK, *words[middle + 1 :]]), words[middle]
