"""Token after token, with KerasHub's samplers and its caches of keys and values."""

import keras_hub
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline.text import class_for

ROWS = 16  # Prompts that are answered at once.
GRAIN = 32  # Widths are multiples of this, so that few of them are met.
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
    if name not in SAMPLERS:
        raise UserError(f"sampler must be one of {', '.join(SAMPLERS)}. Received: sampler={given!r}")
    try:
        return SAMPLERS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"sampler: {error}. Received: sampler={given!r}") from error


class Generator:
    """Says what comes after prompts, with KerasHub's model of this backbone, whose layers it shares.

    Args:
        pretrained: Pretrained, a decoder. how: str or dict, see `sampler`.

    Raises: UserError if KerasHub has none.
    """

    def __init__(self, pretrained, how):
        kind = class_for(pretrained.backbone, keras_hub.models.CausalLM)
        if kind is None:
            raise UserError(f"KerasHub cannot generate with this backbone. Received: backbone={pretrained.name!r}")
        self.model = kind(backbone=pretrained.backbone, preprocessor=None)
        self.model.sampler = sampler(how)
        self.functions = {}

    def __call__(self, preprocessor, rows, width=0):
        """Returns the ids of what comes after each row, ragged `(batch, None)` int32, without the token that ends it.

        Args:
            preprocessor: PromptPreprocessor.
            rows: ragged `(batch, None)` int32, prompts. width: int. What rows are filled up to, at least.
        """
        # Of its cache; while a model is trained, its layers may compute in another.
        self.model.dtype_policy = self.model.backbone.token_embedding.dtype_policy
        stops, most = preprocessor.stops, preprocessor.room
        filler = next(number for number in range(len(stops) + 1) if number not in stops)  # KerasHub stops there, too.
        lengths = tf.maximum(tf.cast(rows.row_lengths(), "int32"), 1)
        width = tf.maximum(tf.reduce_max(tf.pad(lengths, [[0, 1]])) + most, width)
        ids = rows.to_tensor(filler)
        ids = tf.pad(ids, [[0, 0], [0, width - tf.shape(ids)[1]]], constant_values=filler)
        inputs = {"token_ids": ids, "padding_mask": tf.sequence_mask(lengths, width)}
        made = self.model.generate_step(inputs, stop_token_ids=stops or None)
        ids, places, first = tf.cast(made["token_ids"], "int32"), tf.range(width), lengths[:, None]
        is_new = (places >= first) & (places < first + most) & tf.cast(made["padding_mask"], "bool")
        for stop in stops:
            is_new &= ids != stop
        return tf.ragged.boolean_mask(ids, is_new)

    def in_batches(self, preprocessor, rows, state):
        """Returns the same for any number of rows, some at a time, rows of like length together.

        Args:
            state: hashable. What the graph depends on beside the values of weights; one is made for each. None is for
                weights that do not stay: the graph is not kept.
        """
        ask = self.functions.get(state) or tf.function(self.__call__, autograph=False, reduce_retracing=True)
        if state is not None:
            self.functions[state] = ask
        lengths = rows.row_lengths().numpy()
        order, parts = lengths.argsort(kind="stable"), []
        for begin in range(0, len(order), ROWS):
            chosen = order[begin : begin + ROWS]
            width = -(-(int(lengths[chosen].max()) + preprocessor.room) // GRAIN) * GRAIN
            parts.append(ask(preprocessor, tf.gather(rows, chosen), tf.constant(width)))
        return tf.gather(tf.concat(parts, axis=0), order.argsort(kind="stable"))
