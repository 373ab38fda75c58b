"""Token after token, with KerasHub's samplers and its caches of keys and values."""

import functools
from typing import ClassVar

import keras_hub
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline.text import class_for

ROWS = 16  # Prompts that are answered at once.
GRAIN = 32  # Widths are multiples of this, so that few of them are met.
SIGNATURE = (tf.RaggedTensorSpec((None, None), tf.int32, ragged_rank=1), tf.TensorSpec((), tf.int32))
SAMPLERS = {
    "greedy": keras_hub.samplers.GreedySampler,
    "beam": keras_hub.samplers.BeamSampler,
    "contrastive": keras_hub.samplers.ContrastiveSampler,
    "random": keras_hub.samplers.RandomSampler,
    "top_k": keras_hub.samplers.TopKSampler,
    "top_p": keras_hub.samplers.TopPSampler,
}


def sampler(given):
    """Returns the KerasHub sampler of a name, or of a dict with `name` and its arguments. Raises UserError if none."""
    name, arguments = given, {}
    if isinstance(given, dict):
        arguments = {key: value for key, value in given.items() if key != "name"}
        name = given.get("name")
    if not isinstance(name, str) or name not in SAMPLERS:
        raise UserError(f"sampler must be one of {', '.join(SAMPLERS)}. Received: sampler={given!r}")
    try:
        return SAMPLERS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"sampler: {error}. Received: sampler={given!r}") from error


class Generator:
    """Writes texts token by token, with KerasHub's model of a backbone, whose layers it shares.

    A subclass overrides `__call__`, which returns the ids that are written for each row, ragged `(batch, None)` int32,
    without the token that ends them.

    Args:
        pretrained: Pretrained. how: str or dict, see `sampler`.

    Raises: UserError if KerasHub has none.
    """

    kind: ClassVar[type]

    def __init__(self, pretrained, how):
        kind = class_for(pretrained.backbone, self.kind)
        if kind is None:
            raise UserError(f"KerasHub cannot generate with this backbone. Received: backbone={pretrained.name!r}")
        self.model = kind(backbone=pretrained.backbone, preprocessor=None)
        self.model.sampler = sampler(how)
        self.functions = {}

    def __call__(self, preprocessor, rows, width=0):
        raise NotImplementedError

    def limit(self, preprocessor):
        """Returns how many tokens a row has at most."""
        return preprocessor.sequence_length

    def step(self, preprocessor, inputs):
        """Returns what KerasHub's `generate_step` does."""
        # Of its cache; while a model is trained, its layers may compute in another.
        self.model.dtype_policy = self.model.backbone.token_embedding.dtype_policy
        return self.model.generate_step(inputs, stop_token_ids=preprocessor.stops or None)

    def in_batches(self, preprocessor, rows, state):
        """Returns the same for any number of rows, some at a time, rows of like length together.

        Args:
            state: hashable. What the graph depends on beside the values of weights; one is made for each. None is for
                weights that do not stay: the graph is not kept.
        """
        ask = self.functions.get(state)
        ask = ask or tf.function(functools.partial(self, preprocessor), SIGNATURE, autograph=False)
        if state is not None:
            self.functions[state] = ask
        lengths = rows.row_lengths().numpy()
        order, parts = lengths.argsort(kind="stable"), []
        for begin in range(0, len(order), ROWS):
            chosen = order[begin : begin + ROWS]
            width = min(-(-int(lengths[chosen].max()) // GRAIN) * GRAIN, self.limit(preprocessor))
            parts.append(ask(tf.gather(rows, chosen), tf.constant(width)))
        return tf.gather(tf.concat(parts, axis=0), order.argsort(kind="stable"))


class Continuing(Generator):
    """Says what comes after prompts, with a decoder."""

    kind = keras_hub.models.CausalLM

    def __call__(self, preprocessor, rows, width=0):
        """Returns the ids of what comes after each row.

        Args:
            preprocessor: PromptPreprocessor.
            rows: ragged `(batch, None)` int32, prompts. width: int. What they are filled up to, at least.
        """
        most, filler = preprocessor.room, _filler(preprocessor.stops)
        lengths = tf.maximum(tf.cast(rows.row_lengths(), "int32"), 1)
        width = tf.maximum(tf.reduce_max(tf.pad(lengths, [[0, 1]])), width) + most
        ids = rows.to_tensor(filler)
        ids = tf.pad(ids, [[0, 0], [0, width - tf.shape(ids)[1]]], constant_values=filler)
        inputs = {"token_ids": ids, "padding_mask": tf.sequence_mask(lengths, width)}
        made, places, first = self.step(preprocessor, inputs), tf.range(width), lengths[:, None]
        is_room = (places >= first) & (places < first + most)
        return _written(made["token_ids"], made["padding_mask"], is_room, preprocessor.stops)

    def limit(self, preprocessor):
        return preprocessor.sequence_length - preprocessor.room


class Writing(Generator):
    """Says what a decoder writes for texts that an encoder reads."""

    kind = keras_hub.models.Seq2SeqLM

    def __init__(self, pretrained, how):
        super().__init__(pretrained, how)
        # T5's attention loses the number of positions where that of rows is not known.
        self.model.call_decoder_with_cache = functools.partial(_with_length, self.model.call_decoder_with_cache)

    def __call__(self, preprocessor, rows, width=0):
        """Returns the ids of what is written for each row.

        Args:
            preprocessor: SourcePreprocessor.
            rows: ragged `(batch, None)` int32, texts. width: int. What they are filled up to, at least.
        """
        begin, most, pad = preprocessor.begin, preprocessor.room, preprocessor.pad_id
        lengths, ids = tf.cast(rows.row_lengths(), "int32"), rows.to_tensor(pad)
        wide = tf.maximum(tf.maximum(width, tf.shape(ids)[1]), 1)
        count = tf.maximum(tf.shape(ids)[0], 1)  # T5's attention cannot tell the shape of no rows.
        given = [*begin, *[_filler(preprocessor.stops)] * most]
        missing = [[0, count - tf.shape(ids)[0]], [0, wide - tf.shape(ids)[1]]]
        inputs = {
            "encoder_token_ids": tf.pad(ids, missing, constant_values=pad),
            "encoder_padding_mask": tf.sequence_mask(tf.pad(lengths, missing[:1]), wide),
            "decoder_token_ids": tf.tile(tf.constant([given]), [count, 1]),
            "decoder_padding_mask": tf.tile(tf.range(len(given))[None] < len(begin), [count, 1]),
        }
        made, is_room = self.step(preprocessor, inputs), tf.range(len(given)) >= len(begin)
        written = _written(made["decoder_token_ids"], made["decoder_padding_mask"], is_room, preprocessor.stops)
        return written[: tf.shape(ids)[0]]


def _with_length(call, decoder_token_ids, **others):
    logits, states, *caches = call(decoder_token_ids=decoder_token_ids, **others)
    length = decoder_token_ids.shape[1]
    return tf.ensure_shape(logits, (None, length, None)), tf.ensure_shape(states, (None, length, None)), *caches


def _filler(stops):
    """Returns the id of places that are to be written: none that ends a text, for KerasHub stops there, too."""
    return next(number for number in range(len(stops) + 1) if number not in stops)


def _written(ids, mask, is_room, stops):
    ids = tf.cast(ids, "int32")
    is_new = is_room & tf.cast(mask, "bool")
    for stop in stops:
        is_new &= ids != stop
    return tf.ragged.boolean_mask(ids, is_new)
