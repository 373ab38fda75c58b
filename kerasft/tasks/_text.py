"""What all tasks share that read one text an example, or two."""

import dataclasses
import math
from typing import Any, ClassVar

import keras_hub
import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.model import encoder_of, features
from kerasft.pipeline import clean, text
from kerasft.tasks._head import POOLINGS, PooledHead
from kerasft.tasks.base import Task

# What tokenizers treat in unlike ways: case, accents, scripts, direction, white space, controls, marks, length.
EDGE_CASES = [
    "a",
    "GREAT, isn't it?! 3.14 (or so) … #42",
    "Café, naïve, e\u0301, Ünïcödé, ß, İ, ﬁ, ½, ①",
    "🙂 👩‍👩‍👧 🇫🇷 ☺️",
    "שלום עולם، مرحبا بالعالم",
    "北京欢迎你 東京 ﾃｽﾄ 안녕하세요 नमस्ते ไทย",
    " two  blanks, tab\tnew\nline\r\n, no-break\u00a0space, zero\u200bwidth, \ufeff ",
    "controls \x01 \x07 \x1b[0m \x7f \x85",
    "[CLS] [SEP] [MASK] [PAD] <s> </s> <|endoftext|> <unk> ##ing ▁a Ġa",
    "x" * 120,
    "word " * 3000,
]


class TextInputs(Task):
    """Reads strings, one for each of its `inputs`."""

    modality: ClassVar[str] = "text"

    def part_of(self, pretrained):
        return dataclasses.replace(pretrained, backbone=encoder_of(pretrained.backbone))

    def signature(self):
        return {name: tf.TensorSpec((None,), tf.string, name=name) for name in self.inputs}

    def request(self, frame):
        return {name: np.array(frame[name].tolist(), dtype=object) for name in self.inputs}

    def _wanted(self, with_targets):
        wanted = dict.fromkeys(self.inputs, True)
        return {**wanted, self.target: True} if with_targets else wanted


class TextTask(TextInputs):
    """One answer for a text, or for a pair of texts.

    Args:
        pair: bool. Two texts each example.
        pooling: str. `"auto"`, `"mean"`, `"first"`, `"last"` or `"pooled"`, the backbone's own.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        **kwargs: of `Task`.
    """

    units: Any

    def __init__(self, *args, pair=False, pooling="auto", sequence_length=None, **kwargs):
        super().__init__(*args, **kwargs)
        if pooling not in ("auto", *POOLINGS):
            raise UserError(f"pooling must be 'auto' or one of {', '.join(POOLINGS)}. Received: pooling={pooling!r}")
        check_sequence_length(sequence_length)
        self.pair = pair
        self.pooling = pooling
        self.sequence_length = sequence_length

    @property
    def inputs(self):
        """Names of the columns that are read."""
        return ("text", "text_pair") if self.pair else ("text",)

    def _chosen(self, frame, with_targets, wanted=None):
        if with_targets and not self.pair and "text_pair" in frame and "text_pair" not in self.columns.values():
            clean.warn(
                ["it is read with pair=True"], f"{clean.origin(frame)} has a column text_pair, which is not read"
            )
        return super()._chosen(frame, with_targets, wanted)

    def frame_of(self, inputs):
        if isinstance(inputs, str) or (self.pair and isinstance(inputs, tuple)):
            inputs = [inputs]
        rows = [row if isinstance(row, (tuple, list)) else (row,) for row in inputs]
        wrong = [row for row in rows if len(row) != len(self.inputs)]
        if wrong:
            raise UserError(f"Each input must be {' and '.join(self.inputs)}. Received: {wrong[0]!r}")
        frame = pd.DataFrame(rows, columns=list(self.inputs), index=range(1, len(rows) + 1))
        frame.attrs["origin"] = "inputs"
        return frame

    def preprocessor(self, pretrained):
        return text_preprocessor(pretrained, self.sequence_length)

    def examples(self, frame, preprocessor, with_targets=True):
        columns = [frame[name].array for name in self.inputs]
        return text.tokenize(preprocessor, columns, self.targets(frame) if with_targets else None)

    def head(self, pretrained):
        reads, pooling = self.reads(pretrained)
        return PooledHead(self.units, reads, pooling, self.dropout)

    def reads(self, pretrained):
        """Returns the names of the features that the head reads, and how it pools them. Raises UserError for those of
        a pooler that the backbone does not have.
        """
        pooling = self.pooling
        if pooling == "auto":
            # A mean over the tokens needs to know which are padding; without a mask, the first is the one that is not.
            is_masked = "padding_mask" in pretrained.backbone.input
            pooling = "last" if pretrained.causal else "mean" if is_masked else "first"
        if pooling != "pooled":
            return ("tokens", "mask"), pooling
        if "pooled" not in features(pretrained.backbone):
            others = ", ".join(name for name in POOLINGS if name != "pooled")
            raise UserError(f"{pretrained.name} has no pooled output; pooling is {others}. Received: pooling='pooled'")
        return ("pooled",), pooling

    def edge_cases(self):
        following = [*EDGE_CASES[1:], EDGE_CASES[0]]
        return self.frame_of(list(zip(EDGE_CASES, following, strict=True)) if self.pair else EDGE_CASES)

    def get_config(self):
        own = {"pair": self.pair, "pooling": self.pooling, "sequence_length": self.sequence_length}
        return {**super().get_config(), **own}

    def _problems(self, frame):
        return [problem for name in self.inputs for problem in clean.text_problems(frame, name)]


def check_sequence_length(length, least=8):
    """Raises UserError unless it is None or a whole number, not below the least."""
    is_whole = isinstance(length, int) and not isinstance(length, bool)
    if length is not None and not (is_whole and length >= least):
        raise UserError(f"sequence_length must be a whole number, {least} or more. Received: {length!r}")


def text_preprocessor(pretrained, sequence_length, kind=text.TextPreprocessor):
    """Returns the layer of this kind for an encoder or a decoder. Raises UserError for a length that it does not
    read.
    """
    return preprocessor_of_kind(kind, pretrained, marks(pretrained), sequence_length)


def preprocessor_of_kind(kind, pretrained, marks, sequence_length):
    """Returns the layer of this kind that puts these marks around texts. Raises UserError for a length beyond the
    backbone's.
    """
    limit = most_tokens(pretrained.backbone) or math.inf
    length = sequence_length or min(limit, 512)
    if length > limit:
        raise UserError(f"{pretrained.name} reads {limit} tokens at most. Received: sequence_length={length}")
    return kind(pretrained.converter, marks, length, sorted(pretrained.backbone.input))


def most_tokens(backbone):
    """Returns how many tokens a backbone reads at most, or None if that is not limited."""
    positions = [layer for layer in backbone.layers if isinstance(layer, keras_hub.layers.PositionEmbedding)]
    return getattr(backbone, "max_sequence_length", None) or min((p.sequence_length for p in positions), default=None)


def marks(pretrained):
    """Returns the ids that the backbone's own preprocessor puts before, between and after texts.

    Encoders were pretrained with certain marks (RoBERTa doubles the separator), which KerasHub's classifier
    preprocessors know. A decoder gets its start and end tokens, where it has them, and so does the encoder of one that
    has both; BART's separator is that of RoBERTa.
    """
    backbone, tokenizer = pretrained.backbone, pretrained.converter
    cls = text.class_for(backbone, keras_hub.models.TextClassifierPreprocessor)
    if cls:
        preprocessor = cls(tokenizer)
        preprocessor.build(None)
        packer = preprocessor.packer
        return {"start": packer.start_value, "separator": packer.sep_value, "end": packer.end_value}
    start, end = getattr(tokenizer, "start_token_id", None), getattr(tokenizer, "end_token_id", None)
    end = [] if end is None else [end]
    separator = end * 2 if isinstance(tokenizer, keras_hub.tokenizers.BartTokenizer) else end
    return {"start": [] if start is None else [start], "separator": separator, "end": end}
