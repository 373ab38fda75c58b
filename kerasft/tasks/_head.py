"""The layer on top of a backbone, for every task that wants one answer an example."""

import keras
import tensorflow as tf

POOLINGS = ("mean", "first", "last", "pooled")


class Pooling(keras.layers.Layer):
    """What heads share that pool a backbone's features.

    Args:
        reads: names of the features it takes. pooling: str, one of `POOLINGS`.
    """

    def __init__(self, reads, pooling="mean", name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.reads = tuple(reads)
        self.pooling = pooling

    def pool(self, features):
        """Returns one vector an example, `(batch, width)`; nothing of it learns."""
        if "image" in features:
            return keras.ops.mean(features["image"], axis=range(1, len(features["image"].shape) - 1))
        if self.pooling == "pooled":
            return features["pooled"]
        tokens = features["tokens"]
        if self.pooling == "first":
            return tokens[:, 0]
        if self.pooling == "last":
            last = keras.ops.sum(keras.ops.cast(features["mask"], "int32"), axis=1) - 1
            return tf.gather(tokens, last, batch_dims=1)  # `keras.ops.take_along_axis` fails on a batch of 0 rows.
        mask = keras.ops.cast(features["mask"], tokens.dtype)[..., None]
        return keras.ops.sum(tokens * mask, axis=1) / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)

    def get_config(self):
        return {**super().get_config(), "reads": self.reads, "pooling": self.pooling}


@keras.saving.register_keras_serializable("kerasft")
class PooledHead(Pooling):
    """Pools a backbone's features, drops out, and projects to one number a class, or to one alone.

    Args:
        units: int. Classes, or 1 for a number.
        reads: names of the features it takes.
        pooling: str. `"mean"` over the tokens or pixels that are no padding; `"first"` or `"last"` such token;
            `"pooled"`, the backbone's own pooled output.
        dropout: float from 0 to 1.

    Input shape: `{"tokens": (batch, length, width), "mask": (batch, length)}` or
        `{"pooled": (batch, width)}` or `{"image": (batch, height, width, channels)}` or
        `{"image": (batch, patches, channels)}`; `reads` says which. Or what `pool` made of it, `(batch, width)`.
    Output shape: `(batch, units)` float32.
    """

    def __init__(self, units, reads, pooling="mean", dropout=0.1, **kwargs):
        super().__init__(reads, pooling, **kwargs)
        self.units = units
        self.rate = dropout
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.logits = _logits(units)

    def build(self, input_shape):
        self.logits.build((None, input_shape[self.reads[0]][-1]))
        self.built = True

    def call(self, features, training=False):
        pooled = self.pool(features) if isinstance(features, dict) else features
        return self.logits(self.dropout(pooled, training=training))

    def compute_output_shape(self, input_shape):
        return (input_shape[self.reads[0]][0], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "dropout": self.rate}


@keras.saving.register_keras_serializable("kerasft")
class TokenHead(keras.layers.Layer):
    """Drops out, and projects the features of each token to one number a class.

    Args:
        units: int. Classes.
        dropout: float from 0 to 1.

    Input shape: `{"tokens": (batch, length, width)}`.
    Output shape: `(batch, length, units)` float32.
    """

    reads: tuple[str, ...] = ("tokens",)
    pooling = None

    def __init__(self, units, dropout=0.1, name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.units = units
        self.rate = dropout
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.logits = _logits(units)

    def build(self, input_shape):
        self.logits.build(input_shape["tokens"])
        self.built = True

    def call(self, features, training=False):
        return self.logits(self.dropout(features["tokens"], training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape["tokens"][:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "dropout": self.rate}


@keras.saving.register_keras_serializable("kerasft")
class ChainHead(TokenHead):
    """The same, but each token's class depends on those of its neighbours: a linear-chain conditional random field.

    What it gives are the logarithms of each token's chances, all classes of the other tokens taken into account. So the
    usual losses train it, those of single tokens weighted or left out at will, and the likeliest class of each token is
    what the field says. Its scores of two neighbours begin with zero: the same as without it.

    Args: of `TokenHead`.

    Input shape: `{"tokens": (batch, length, width), "mask": (batch, length)}`.
    Output shape: `(batch, length, units)` float32.
    Source: Lafferty et al. 2001, https://repository.upenn.edu/cis_papers/159; chances of each token in the place of the
        likeliest sequence: Kakade et al. 2002, "An alternate objective function for Markovian fields".
    """

    reads = ("tokens", "mask")
    GAIN = 50.0  # A learning rate that suits pretrained weights would hardly move these from zero.

    def build(self, input_shape):
        super().build(input_shape)
        self.pairs = self.add_weight(name="pairs", shape=(self.units, self.units), initializer="zeros", dtype="float32")
        self.pairs.decays = False

    def call(self, features, training=False):
        logits = super().call(features, training=training)
        return chain(logits, tf.cast(features["mask"], "bool"), self.GAIN * tf.convert_to_tensor(self.pairs))


def chain(logits, mask, pairs):
    """Returns the logarithms of the chances of each class at each place of a chain, `(batch, length, classes)`.

    Args:
        logits: `(batch, length, classes)`. mask: `(batch, length)` bool, the places of the chain.
        pairs: `(classes, classes)`. Added where the first class is followed by the second.

    Source: forward and backward recursion of Rabiner 1989, https://doi.org/10.1109/5.18626, section III.
    """
    # A request of no texts has no width, which `tf.scan` does not like.
    logits, mask = tf.pad(logits, [[0, 0], [0, 1], [0, 0]]), tf.pad(mask, [[0, 0], [0, 1]])
    # Both ways at once, the second with what it reads turned round: `(length, 2, batch, classes)`.
    both = tf.transpose(tf.stack([logits, logits[:, ::-1]]), (2, 0, 1, 3))
    inside = tf.transpose(tf.stack([mask, mask[:, ::-1]]), (2, 0, 1))[..., None]
    pairs = tf.stack([pairs, tf.transpose(pairs)])[:, None]

    def following(before, place):
        scores, is_inside = place
        came = tf.reduce_logsumexp(before[..., None] + pairs, axis=2)
        # Normalised, or it would grow with the length. What comes before the first place may be any class.
        return tf.where(is_inside, tf.nn.log_softmax(came + scores), before)

    ways = tf.scan(following, (both, inside), initializer=tf.zeros(tf.shape(both)[1:]))
    forward, backward = tf.transpose(ways, (1, 2, 0, 3))[0], tf.transpose(ways[::-1], (1, 2, 0, 3))[1]
    return tf.nn.log_softmax(forward + backward - logits)[:, :-1]  # Both have the logits of the place itself.


@keras.saving.register_keras_serializable("kerasft")
class SpanHead(TokenHead):
    """Projects each token to how likely a span begins there and ends there; padding is never likely.

    Args:
        dropout: float from 0 to 1.

    Input shape: `{"tokens": (batch, length, width), "mask": (batch, length)}`.
    Output shape: `(batch, length, 2)` float32.
    """

    reads = ("tokens", "mask")

    def __init__(self, dropout=0.1, name="head", units=2, **kwargs):
        super().__init__(units, dropout, name, **kwargs)

    def call(self, features, training=False):
        logits = super().call(features, training=training)
        return keras.ops.where(keras.ops.cast(features["mask"], "bool")[..., None], logits, -1e4)


@keras.saving.register_keras_serializable("kerasft")
class SimilarityHead(Pooling):
    """Compares a text's vector, of length 1, with one for each class; these learn.

    Args:
        units: int. Classes.
        reads: names of the features it takes.
        pooling: str. As of `PooledHead`.
        scale: float above 0. What cosines are multiplied by.

    Input shape: as of `PooledHead`.
    Output shape: `(batch, units)` float32.
    """

    def __init__(self, units, reads, pooling="mean", scale=20.0, **kwargs):
        super().__init__(reads, pooling, **kwargs)
        self.units = units
        self.scale = scale

    def build(self, input_shape):
        width = input_shape[self.reads[0]][-1]
        self.vectors = self.add_weight(name="vectors", shape=(width, self.units), dtype="float32")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros", dtype="float32")
        self.built = True

    def call(self, features, training=False):
        pooled = self.pool(features) if isinstance(features, dict) else features
        return self.scale * tf.matmul(normalized(pooled), tf.math.l2_normalize(self.vectors, axis=0)) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[self.reads[0]][0], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "scale": self.scale}


@keras.saving.register_keras_serializable("kerasft")
class VectorHead(Pooling):
    """Pools a backbone's features to one vector of length 1. It has no weights.

    Args:
        reads: names of the features it takes.
        pooling: str. As of `PooledHead`.

    Input shape: as of `PooledHead`.
    Output shape: `(batch, width)` float32.
    """

    def build(self, input_shape):
        self.built = True

    def call(self, features, training=False):
        pooled = self.pool(features) if isinstance(features, dict) else features
        return normalized(pooled)

    def compute_output_shape(self, input_shape):
        shape = input_shape[self.reads[0]]
        return (shape[0], shape[-1])


class NextTokenHead(keras.layers.Layer):
    """Gives the features of each token, of which the loss makes what comes next. It has no weights.

    Args:
        loss: kerasft.losses.next_token.NextToken.

    Input shape: `{"tokens": (batch, length, width)}`.
    Output shape: `(batch, length, width)`.
    """

    reads: tuple[str, ...] = ("tokens",)
    pooling = None
    scale = 1.0  # Of the features: T5's embeddings are larger than what it reads them with.

    def __init__(self, loss, name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scored = loss.scored

    def call(self, features, training=False):
        tokens = keras.ops.cast(features["tokens"], self.compute_dtype)
        return tokens if self.scale == 1 else tokens * self.scale

    def compute_output_shape(self, input_shape):
        return tuple(input_shape["tokens"])

    def scores(self, outputs, targets):
        """Returns for each row the cross-entropy, how many tokens were right, and of how many, `(batch, 3)` float32."""
        at = tf.where(targets >= 0)
        losses, is_right = self.scored(tf.gather_nd(outputs, at), tf.gather_nd(targets, at))
        sums = tf.stack([losses, tf.cast(is_right, "float32"), tf.ones_like(losses)], axis=1)
        return tf.math.unsorted_segment_sum(sums, at[:, 0], tf.shape(targets)[0])


class MaskedTokenHead(NextTokenHead):
    """The same for hidden tokens: a dense layer, GELU and layer normalisation come before the embeddings.

    Args:
        loss: kerasft.losses.next_token.NextToken.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, and its published code.
    """

    def __init__(self, loss, **kwargs):
        super().__init__(loss, **kwargs)
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        width = loss.embedding.output_dim
        self.dense = keras.layers.Dense(width, activation="gelu", kernel_initializer=initializer, name="dense")
        self.norm = keras.layers.LayerNormalization(name="norm")

    def build(self, input_shape):
        self.dense.build(input_shape["tokens"])
        self.norm.build((*input_shape["tokens"][:-1], self.dense.units))
        self.built = True

    def call(self, features, training=False):
        return self.norm(self.dense(features["tokens"]))

    def compute_output_shape(self, input_shape):
        return (*input_shape["tokens"][:-1], self.dense.units)


def normalized(vectors):
    """Returns vectors `(batch, width)` made to length 1, as float32."""
    return tf.math.l2_normalize(tf.cast(vectors, "float32"), axis=1)


def _logits(units):
    """Returns the last layer of a head."""
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", name="logits")
