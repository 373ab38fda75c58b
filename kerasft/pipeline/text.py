"""Strings to token ids: the layer that goes with the model, and the store that training reads from."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import os

import keras
import keras_hub
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from kerasft.pipeline import _byte_pairs, _kept
from kerasft.pipeline.examples import Examples

PARTS = 1000  # Texts that are tokenized at once.
BY_POSITION = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32))  # Targets and weights.


@keras.saving.register_keras_serializable("kerasft")
class TextPreprocessor(keras.layers.Layer):
    """Turns one or two columns of strings into a backbone's inputs, as wide as the longest row.

    The same object makes the training batches and the first ops of the exported graph. Rows longer than
    `sequence_length` are cut; of a pair, the longer text first (round robin). A backbone that reads no `padding_mask`
    sees the padding, so for it all rows are `sequence_length` wide: the other rows of a batch must not matter.

    The names of special tokens are text like any other, as Hugging Face has it with `split_special_tokens=True`.

    Args:
        tokenizer: KerasHub tokenizer layer.
        marks: dict of lists of ids: `start` before the first text, `separator` between two, `end` after the last.
        sequence_length: int. Greatest length in tokens, marks included.
        inputs: names of the backbone's inputs: of `token_ids`, `padding_mask`, `segment_ids`.

    Input shape: `(batch,)` strings, an array or a tensor, or a tuple of two of them.
    Output shape: dict of `(batch, length)` int32.
    """

    def __init__(self, tokenizer, marks, sequence_length, inputs, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.tokenizer = tokenizer
        _byte_pairs.adapt(tokenizer)
        self.marks = {name: list(ids) for name, ids in marks.items()}
        self.sequence_length = sequence_length
        self.inputs = list(inputs)
        self.graph_rows = tf.function(self._pack)
        self.graph_ids = tf.function(
            lambda texts: as_ragged(self.tokenizer(texts)), input_signature=[tf.TensorSpec((None,), tf.string)]
        )
        self.built = True

    @property
    def pad_id(self):
        """The id that fills a row; the mask, not this id, says what is padding."""
        return self.tokenizer.pad_token_id or 0

    @property
    def fixed_width(self):
        """The width of every batch in tokens, or None if it may vary."""
        return None if "padding_mask" in self.inputs else self.sequence_length

    def call(self, texts):
        return self.dense(self.rows(texts))

    def dense(self, rows):
        """Returns the backbone's inputs, each `(batch, length)` int32, for ragged `token_ids` and `segment_ids`."""
        lengths = rows["token_ids"].row_lengths()
        # One token wide at least, also without rows: T5 cannot tell how wide an empty batch is.
        width = self.fixed_width or tf.maximum(tf.reduce_max(lengths), 1)
        shape = tf.stack([-1, tf.cast(width, "int64")])
        dense = {name: rows[name].to_tensor(self.pad_id if name == "token_ids" else 0, shape=shape) for name in rows}
        dense["padding_mask"] = tf.sequence_mask(lengths, width, dtype="int32")
        return {name: dense[name] for name in self.inputs}

    def rows(self, texts):
        """Returns `token_ids` and `segment_ids`, each a ragged `(batch, None)` int32 tensor."""
        texts = tuple(map(tf.convert_to_tensor, texts if isinstance(texts, (tuple, list)) else (texts,)))
        # Outside of graphs KerasHub's tokenizers use other code, which gives other ids for odd strings.
        return self.traced(len(texts))(*texts) if tf.executing_eagerly() else self._pack(*texts)

    def traced(self, columns):
        """Returns `rows` of so many columns as a TensorFlow function. Tracing takes seconds, and is done once."""
        return self.graph_rows.get_concrete_function(*[tf.TensorSpec((None,), tf.string)] * columns)

    def tokenized(self, texts):
        """Returns the ids of texts, ragged `(len(texts), None)`, without marks, as the exported graph makes them."""
        return self.graph_ids(tf.constant(texts, tf.string))

    def tokenized_in_parallel(self, texts):
        """Returns the same as a list of lists."""
        return [ids for part in in_parallel(self.tokenized, slices(texts, PARTS)) for ids in part.to_list()]

    def _pack(self, *texts):
        segments = [as_ragged(self.tokenizer(text)) for text in texts]
        marks = [self.marks["start"], *[self.marks["separator"]] * (len(segments) - 1), self.marks["end"]]
        room = self.sequence_length - sum(len(mark) for mark in marks)
        segments = tf_text.RoundRobinTrimmer(room).trim(segments)
        pieces, numbers = [column(marks[0], segments[0])], [0]
        for number, (segment, mark) in enumerate(zip(segments, marks[1:], strict=True)):
            pieces += [segment, column(mark, segment)]
            numbers += [number, number]
        segment_ids = [tf.zeros_like(piece) + number for piece, number in zip(pieces, numbers, strict=True)]
        return {"token_ids": tf.concat(pieces, axis=1), "segment_ids": tf.concat(segment_ids, axis=1)}

    def compute_output_spec(self, texts):
        return {name: keras.KerasTensor((None, None), dtype="int32", name=name) for name in self.inputs}

    def get_config(self):
        own = {"marks": self.marks, "sequence_length": self.sequence_length, "inputs": self.inputs}
        return {**super().get_config(), **own, "tokenizer": keras.saving.serialize_keras_object(self.tokenizer)}

    @classmethod
    def from_config(cls, config):
        config = {key: value for key, value in config.items() if key not in ("trainable", "dtype")}
        return cls(keras.saving.deserialize_keras_object(config.pop("tokenizer")), **config)


@dataclasses.dataclass
class TokenizedText(Examples):
    """Token ids of many texts in two flat arrays; row `i` is `[offsets[i]:offsets[i + 1]]`.

    Attributes:
        token_ids: `(tokens,)` int32. segment_ids: `(tokens,)` int8. offsets: `(rows + 1,)` int64.
        targets: array with one entry a row, or None.
        preprocessor: the TextPreprocessor that made them.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray | None
    preprocessor: TextPreprocessor

    def __len__(self):
        return len(self.offsets) - 1

    @property
    def lengths(self):
        """Tokens of each row, `(rows,)` int64."""
        return np.diff(self.offsets)

    def digest(self):
        """Returns the SHA-256 of all inputs that are made of them."""
        found = hashlib.sha256(repr((self.preprocessor.inputs, self.preprocessor.pad_id)).encode())
        for array in (self.token_ids, self.segment_ids, self.offsets):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    @property
    def signature(self):
        """The `tf.TensorSpec`s of what `gather` returns."""
        return {name: tf.TensorSpec((None, None), tf.int32) for name in self.preprocessor.inputs}

    def gather(self, rows, width):
        """Returns the backbone's inputs for these rows, each `(len(rows), width)` int32."""
        made = {
            "token_ids": lambda: dense(self.token_ids, self.offsets, rows, width, self.preprocessor.pad_id),
            "segment_ids": lambda: dense(self.segment_ids, self.offsets, rows, width),
            "padding_mask": lambda: np.arange(width) < self.lengths[rows][:, None],
        }
        return {name: made[name]().astype("int32") for name in self.preprocessor.inputs}


@dataclasses.dataclass
class Parts(TokenizedText):
    """Rows of tokens, several of which may be parts of one text; there is a target at each position.

    Attributes:
        texts: `(rows,)` int64. The number of the text that a row is of.
    """

    texts: np.ndarray

    @property
    def target_signature(self):
        """The `tf.TensorSpec`s of what `gather_targets` returns."""
        return BY_POSITION

    def rows_of(self, numbers):
        """Returns the numbers of the texts that these rows are of."""
        return self.texts[numbers]

    def restored(self, made, batches):
        """Returns the sums over each text's rows, `(texts, units)`."""
        sums = np.zeros((self.texts.max() + 1, made.shape[1]), made.dtype)
        np.add.at(sums, self.texts[np.concatenate(batches)], made)
        return sums


def dense(values, offsets, rows, width, fill=0):
    """Returns rows of a flat array as `(len(rows), width)`, filled up; row `i` is `[offsets[i]:offsets[i + 1]]`."""
    inside = np.arange(width) < np.diff(offsets)[rows][:, None]
    return np.where(inside, values[np.where(inside, offsets[rows][:, None] + np.arange(width), 0)], fill)


def flat(rows):
    """Returns lists of ids as the arrays that stores are made of, by name."""
    token_ids = np.concatenate(rows).astype("int32")
    lengths = np.array([len(row) for row in rows])
    return {"token_ids": token_ids, "segment_ids": np.zeros(len(token_ids), "int8"), "lengths": lengths}


def slices(column, size):
    """Iterates over the rows of a column, so many at a time, as lists."""
    return (list(column[begin : begin + size]) for begin in range(0, len(column), size))


def class_for(backbone, kind):
    """Returns the class of KerasHub's models that is one of this kind and for such a backbone, or None."""
    for cls in vars(keras_hub.models).values():
        is_one = isinstance(cls, type) and issubclass(cls, kind)
        if is_one and cls.backbone_cls and isinstance(backbone, cls.backbone_cls):
            return cls
    return None


def tokenize(preprocessor, columns, targets=None, batch_size=256):
    """Tokenises whole columns once, in parallel, with the ops of the exported graph; large ones stay in the cache.

    Args:
        columns: sequence of one or two lists of strings.
        targets: array with one entry a row, or None.

    Returns: TokenizedText.
    """
    made = _kept.tokens(preprocessor, columns, functools.partial(_tokenized, preprocessor, columns, batch_size))
    return TokenizedText(**made, targets=targets, preprocessor=preprocessor)


def _tokenized(preprocessor, columns, batch_size):
    rows = preprocessor.traced(len(columns))
    parts = zip(*(slices(column, batch_size) for column in columns), strict=True)
    for batch in in_parallel(lambda part: rows(*(tf.constant(texts, tf.string) for texts in part)), parts):
        yield {
            "token_ids": batch["token_ids"].flat_values.numpy(),
            "segment_ids": batch["segment_ids"].flat_values.numpy().astype("int8"),
            "lengths": batch["token_ids"].row_lengths().numpy(),
        }


def in_parallel(function, parts):
    """Iterates over what a function makes of each part; TensorFlow works on a few of them side by side, no more."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead = collections.deque()
        for part in parts:
            ahead.append(pool.submit(function, part))
            if len(ahead) > 2 * os.cpu_count():
                yield ahead.popleft().result()
        yield from (made.result() for made in ahead)


def quiet_options():
    """tf.data options without the autotune thread, which makes `fit` return seconds late."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def as_ragged(tokens):
    """Returns what a tokenizer made as a ragged int32 tensor."""
    return tf.cast(tokens if isinstance(tokens, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(tokens), "int32")


def column(ids, like):
    """Returns `ids` repeated for each row of the ragged tensor `like`."""
    return tf.RaggedTensor.from_tensor(tf.tile(tf.constant([ids], tf.int32, shape=(1, len(ids))), [like.nrows(), 1]))
