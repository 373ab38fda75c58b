"""Words hidden from an encoder, which learns to tell them: other ones in each epoch."""

import dataclasses
import functools
import itertools

import keras
import numpy as np
import tensorflow as tf

from kerasft.pipeline import _kept
from kerasft.pipeline.text import PARTS, Parts, TextPreprocessor, as_ragged, column, flat, in_parallel, slices

MASK = "[MASK]"  # In texts, whatever the tokenizer's own is called.
VIEWS = 10  # Choices of words that a text is met with, one epoch after the other.
MASKED, REPLACED = 0.8, 0.1  # Of the tokens of chosen words: shares that become the mask, and a random token.
# How vocabularies mark a token that goes on with a word, or begins one.
CONTINUES, BEGINS = "##", ("\u2581", "\u0120")


@keras.saving.register_keras_serializable("kerasft")
class MaskPreprocessor(TextPreprocessor):
    """Turns texts with masks in them, written as `[MASK]`, into a backbone's inputs.

    Args: of `TextPreprocessor`.
    """

    def _pack(self, texts):
        parts = tf.strings.split(texts, MASK)
        ids = as_ragged(self.tokenizer(parts.flat_values))
        mask = tf.fill([ids.nrows(), 1], self.tokenizer.mask_token_id)
        ids = parts.with_values(tf.concat([ids, tf.RaggedTensor.from_tensor(mask)], axis=1)).merge_dims(1, 2)
        ids = tf.cast(ids[:, :-1], "int32")  # There is one mask less than parts.
        room = self.sequence_length - len(self.marks["start"]) - len(self.marks["end"])
        ids = ids[:, :room]
        rows = tf.concat([column(self.marks["start"], ids), ids, column(self.marks["end"], ids)], axis=1)
        return {"token_ids": rows, "segment_ids": tf.zeros_like(rows)}

    @functools.cached_property
    def words(self):
        """Two arrays with an entry for each id: whether it begins a word, and whether it may be hidden."""
        names = [self.tokenizer.id_to_token(number) for number in range(self.tokenizer.vocabulary_size())]
        marked = any(name.startswith(BEGINS) for name in names)
        begins = [name.startswith(BEGINS) if marked else not name.startswith(CONTINUES) for name in names]
        special = {*self.marks["start"], *self.marks["end"], self.pad_id, self.tokenizer.mask_token_id}
        return np.array(begins), ~np.isin(np.arange(len(names)), list(special))


@dataclasses.dataclass
class Masked(Parts):
    """Rows of tokens of which some words are hidden.

    A row number beyond the rows is that of another view of a row: `view * rows + row`.

    Attributes:
        share: float. Of words that are hidden.
        seed: int.
    """

    share: float = 0.15
    seed: int = 0
    views = VIEWS

    def gather(self, rows, width):
        """Returns the backbone's inputs for these rows, with words hidden."""
        inputs = super().gather(rows % len(self), width)
        hidden, ids = self._hidden(rows, width)
        return {**inputs, "token_ids": np.where(hidden, ids, inputs["token_ids"]).astype("int32")}

    def gather_targets(self, rows, width=None):
        """Returns the hidden tokens, `(len(rows), width)` int32, -1 for others; and weights, 1 where they are."""
        hidden, _ = self._hidden(rows, width)
        right = super().gather(rows % len(self), width)["token_ids"]
        targets = np.where(hidden, right, -1).astype("int32")
        return targets, hidden.astype("float32")

    def _hidden(self, rows, width):
        """Returns which positions are hidden, and what stands there instead, each `(len(rows), width)`."""
        hidden, instead = np.zeros((len(rows), width), bool), np.zeros((len(rows), width), "int32")
        begins, may = self.preprocessor.words
        tokenizer = self.preprocessor.tokenizer
        usable = np.flatnonzero(may)
        for place, number in enumerate(rows):
            row = number % len(self)
            ids = self.token_ids[self.offsets[row] : self.offsets[row + 1]]
            random = np.random.default_rng([self.seed, int(number)])
            word = np.cumsum(begins[ids] | ~may[ids] | ~np.concatenate([[False], may[ids][:-1]]))
            candidates = np.unique(word[may[ids]])
            count = min(max(round(self.share * len(candidates)), 1), len(candidates))
            chosen = np.isin(word, random.choice(candidates, count, replace=False)) & may[ids]
            kind = random.random(len(ids))
            other = np.where(kind < MASKED, tokenizer.mask_token_id, random.choice(usable, len(ids)))
            hidden[place, : len(ids)] = chosen
            instead[place, : len(ids)] = np.where(kind < MASKED + REPLACED, other, ids)
        return hidden, instead


def tokenize(preprocessor, texts, share, seed):
    """Tokenises a column of texts in parallel; a long one becomes several rows. Returns Masked."""
    made = _kept.tokens(
        preprocessor, [texts], functools.partial(_tokenized, preprocessor, texts), (*_kept.NAMES, "texts")
    )
    return Masked(**made, targets=None, preprocessor=preprocessor, share=share, seed=seed)


def _tokenized(preprocessor, texts):
    start, end = preprocessor.marks["start"], preprocessor.marks["end"]
    room = preprocessor.sequence_length - len(start) - len(end)
    numbers = itertools.count()
    for made in in_parallel(preprocessor.tokenized, slices(texts, PARTS)):
        rows = [
            (number, [*start, *ids[begin : begin + room], *end])
            for ids, number in zip(made.to_list(), numbers, strict=False)
            for begin in range(0, max(len(ids), 1), room)
        ]
        of, ids = zip(*rows, strict=True)
        yield {**flat(ids), "texts": np.array(of)}
