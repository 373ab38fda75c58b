"""Pairs of a text and the text that is written for it, as token ids of an encoder and of a decoder."""

import dataclasses
import hashlib

import keras
import numpy as np
import tensorflow as tf

from kerasft.pipeline import text
from kerasft.pipeline.text import BY_POSITION, TextPreprocessor, TokenizedText, dense

GRAIN = 8  # Widths of decoders are multiples of this, so that few of them are met.


@keras.saving.register_keras_serializable("kerasft")
class SourcePreprocessor(TextPreprocessor):
    """Turns texts into what an encoder reads, before its decoder writes.

    Args:
        prefix: str. What each text begins with.
        begin: list of ids. What the decoder is given first.
        room: int. Most tokens that the decoder writes, with the one that ends it.
        **kwargs: of `TextPreprocessor`; of the marks `end` ends what the decoder writes, too.
    """

    def __init__(self, *args, prefix="", begin=(), room=64, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = prefix
        self.begin = list(begin)
        self.room = room

    @property
    def fixed_width(self):
        return None

    @property
    def stops(self):
        """Ids of the tokens that end what is generated."""
        return tuple(self.marks["end"])

    def _pack(self, texts):
        return super()._pack(tf.strings.join([self.prefix, texts]))

    def get_config(self):
        return {**super().get_config(), "prefix": self.prefix, "begin": self.begin, "room": self.room}


@dataclasses.dataclass
class Sequences(TokenizedText):
    """Token ids of texts, and of what the decoder writes for them: in two flat arrays each.

    Attributes:
        written: `(tokens,)` int32. With what the decoder is given first and the token that ends it.
        written_offsets: `(rows + 1,)` int64.
        cut: int. Texts to write that lost their end because they are too long.
    """

    written: np.ndarray
    written_offsets: np.ndarray
    cut: int = 0

    @property
    def target_signature(self):
        """The `tf.TensorSpec`s of what `gather_targets` returns."""
        return BY_POSITION

    def digest(self):
        """Returns the SHA-256 of all inputs that are made of them."""
        found = hashlib.sha256(super().digest().encode())
        for array in (self.written, self.written_offsets):
            found.update(array.data)
        return found.hexdigest()

    def gather(self, rows, width):
        """Returns the inputs of encoder and decoder, `(len(rows), width)` int32; the decoder's width is its own."""
        columns, pad = np.arange(self._width(rows)), self.preprocessor.pad_id
        is_written = columns < self._lengths[rows][:, None]
        written = dense(self.written, self.written_offsets, rows, len(columns))
        made = {
            "encoder_token_ids": dense(self.token_ids, self.offsets, rows, width, pad),
            "encoder_padding_mask": np.arange(width) < self.lengths[rows][:, None],
            "decoder_token_ids": np.where(is_written, written, pad),
            "decoder_padding_mask": is_written,
        }
        return {name: made[name].astype("int32") for name in self.preprocessor.inputs}

    def gather_targets(self, rows, width=None):
        """Returns the token after each position of the decoder, int32, -1 if it is not learned; and weights."""
        following = dense(self.written, self.written_offsets, rows, self._width(rows) + 1, fill=-1)[:, 1:]
        following[:, : len(self.preprocessor.begin) - 1] = -1
        return following.astype("int32"), (following >= 0).astype("float32")

    @property
    def _lengths(self):
        """Tokens that the decoder reads of each row: all but the last."""
        return np.diff(self.written_offsets) - 1

    def _width(self, rows):
        limit = len(self.preprocessor.begin) + self.preprocessor.room - 1
        return min(-(-int(self._lengths[rows].max()) // GRAIN) * GRAIN, limit)


def tokenize(preprocessor, sources, written):
    """Tokenises columns of texts and of what is written for them, in parallel.

    Args:
        sources, written: lists of str.

    Returns: Sequences.
    """
    made = text.tokenize(preprocessor, [sources])
    begin, end, room = preprocessor.begin, preprocessor.marks["end"], preprocessor.room
    found = preprocessor.tokenized_in_parallel(written)
    ids = [[*begin, *row[: room - len(end)], *end] for row in found]
    return Sequences(
        **vars(made),
        written=np.concatenate(ids).astype("int32"),
        written_offsets=np.cumsum([0, *map(len, ids)]),
        cut=sum(len(row) > room - len(end) for row in found),
    )
