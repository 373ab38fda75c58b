"""Which token comes next, among all of a vocabulary, in little memory."""

import keras
import tensorflow as tf

NUMBERS = 2**24  # Logits that stand in memory at once: 64 MB.


class NextToken(keras.losses.Loss):
    """Cross-entropy of the next token, from a backbone's features and its own embeddings.

    Only the positions that count are multiplied with the embeddings, and some of them at a time, in the backward pass
    anew: the logits of all positions, which take more memory than the model where the vocabulary is large, never stand
    in memory at once.

    Args:
        embedding: keras.layers.Embedding, or ReversibleEmbedding. The backbone's.

    Input shape: targets `(batch, length)`, the next token's id, or -1 where it does not count; features
        `(batch, length, width)`.
    """

    def __init__(self, embedding, name="next_token", **kwargs):
        super().__init__(name=name, **kwargs)
        self.embedding = embedding

    def call(self, y_true, y_pred):
        at = tf.where(y_true >= 0)
        losses, _ = self.scored(tf.gather_nd(y_pred, at), tf.cast(tf.gather_nd(y_true, at), "int32"))
        return tf.scatter_nd(at, losses, tf.shape(y_true, "int64"))

    def scored(self, features, targets):
        """Returns the cross-entropy at each position, `(positions,)` float32, and whether the likeliest is right.

        Args:
            features: `(positions, width)`. targets: `(positions,)` int32.
        """
        return _Chunks(self.embedding, targets).scored(features)

    def logits(self, features):
        """Returns the logits of all tokens for `(rows, width)` features, `(rows, vocabulary)` float32."""
        chunks = _Chunks(self.embedding, tf.zeros([tf.shape(features)[0]], "int32"))
        return chunks.logits(features, tf.cast(chunks.kernel, chunks.dtype))

    def vectors(self, tokens):
        """Returns what features are multiplied with for the logits of tokens, a list of ids: `(tokens, width)`."""
        chunks = _Chunks(self.embedding, tf.constant(tokens))
        rows = tf.gather(chunks.kernel, tokens, axis=0 if chunks.is_tied else 1)
        return rows if chunks.is_tied else tf.transpose(rows)


class _Chunks:
    """The positions in parts, of which one has its logits in memory: `features @ kernel`, perhaps capped.

    Args:
        embedding: keras.layers.ReversibleEmbedding. targets: `(positions,)` int32.
    """

    def __init__(self, embedding, targets):
        self.is_tied = getattr(embedding, "tie_weights", True)
        self.kernel = tf.convert_to_tensor(embedding.embeddings if self.is_tied else embedding.reverse_embeddings)
        self.dtype = getattr(embedding, "reverse_dtype", None) or embedding.compute_dtype
        self.cap = getattr(embedding, "logit_soft_cap", None)
        self.learns = embedding.trainable
        self.rows = tf.shape(targets)[0]
        self.count = tf.maximum(-(-self.rows // (NUMBERS // embedding.input_dim + 1)), 1)
        self.size = tf.maximum(-(-self.rows // self.count), 1)  # All parts are of one size, the last one filled up.
        self.targets = self.parted(targets)

    def scored(self, features):
        """Returns losses and whether the likeliest is right, with a gradient that computes the logits anew."""

        @tf.custom_gradient
        def run(features, kernel):
            parts, kernel = self.parted(features), tf.cast(kernel, self.dtype)
            losses, is_right, totals = self.forward(parts, kernel)

            def gradient(slopes, _):
                to_features, to_kernel = self.backward(parts, kernel, totals, self.parted(slopes))
                return self.whole(tf.cast(to_features, features.dtype)), to_kernel

            return (self.whole(losses), self.whole(is_right)), gradient

        return run(features, self.kernel)

    def forward(self, parts, kernel):
        """Returns losses, whether the likeliest is right, and the logarithm of the sum, each `(count, size)`."""

        def one(part):
            features, targets = part
            logits = self.logits(features, kernel)
            total = tf.reduce_logsumexp(logits, axis=1)
            is_right = tf.argmax(logits, 1, "int32") == targets
            return total - tf.gather(logits, targets, batch_dims=1), is_right, total

        specs = tuple(tf.TensorSpec((None,), dtype) for dtype in (tf.float32, tf.bool, tf.float32))
        return tf.map_fn(one, (parts, self.targets), fn_output_signature=specs, parallel_iterations=1)

    def backward(self, parts, kernel, totals, slopes):
        """Returns the gradients with respect to the parts, and to the kernel, None if it does not learn."""

        def one(number, to_parts, to_kernel):
            features = tf.cast(parts[number], self.dtype)
            logits = self.logits(features, kernel)
            at = tf.stack([tf.range(self.size), self.targets[number]], axis=1)
            error = tf.exp(logits - totals[number][:, None])
            error = tf.tensor_scatter_nd_sub(error, at, tf.ones([self.size])) * slopes[number][:, None]
            if self.cap is not None:
                error *= 1 - tf.square(logits / self.cap)
            error = tf.cast(error, self.dtype)
            to_parts = to_parts.write(number, tf.matmul(error, kernel, transpose_b=not self.is_tied))
            if self.learns:
                pair = (error, features) if self.is_tied else (features, error)
                to_kernel += tf.cast(tf.matmul(*pair, transpose_a=True), "float32")
            return number + 1, to_parts, to_kernel

        array = tf.TensorArray(self.dtype, self.count, element_shape=(None, parts.shape[-1]))
        begin = tf.zeros_like(kernel, "float32") if self.learns else tf.zeros([])
        loop = (0, array, begin)
        _, array, to_kernel = tf.while_loop(lambda number, *_: number < self.count, one, loop, parallel_iterations=1)
        return array.stack(), to_kernel if self.learns else None

    def logits(self, features, kernel):
        """Returns `(size, vocabulary)` float32."""
        made = tf.matmul(tf.cast(features, self.dtype), kernel, transpose_b=self.is_tied)
        made = tf.cast(made, "float32")
        return made if self.cap is None else self.cap * tf.tanh(made / self.cap)

    def parted(self, values):
        """Returns `(positions, …)` as `(count, size, …)`, filled up with zeros."""
        padding = [[0, self.count * self.size - self.rows], *[[0, 0]] * (values.shape.rank - 1)]
        return tf.reshape(tf.pad(values, padding), (self.count, self.size, *values.shape[1:]))

    def whole(self, parts):
        """Returns `(count, size, …)` as `(positions, …)`."""
        return tf.reshape(parts, (-1, *parts.shape[2:]))[: self.rows]
