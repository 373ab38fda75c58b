"""Small changes of what a model reads: of the embedded tokens of texts, of the pixels of images."""

import tensorflow as tf


class Perturbed:
    """Passes through a model, in training mode, with a change added to its inputs.

    Args:
        model: FineTunedModel. x: its inputs.
        tap: `kerasft.taps.Tap` of the layer that embeds tokens, or None for images.
        width: int or None. Of the embedded tokens.
        relative: bool. Whether a change counts in Euclidean lengths of its row, so that 0.05 is as much of a change
            whatever a backbone's embeddings are like.

    Attributes:
        shape: of a change, `(rows, length, width)` or `(rows, height, width, channels)`.
    """

    def __init__(self, model, x, tap, width, relative):  # noqa: PLR0913
        self.model = model
        self.x = x
        self.tap = tap
        self.relative = relative
        self.shape = tf.shape(x) if tap is None else tf.concat([tf.shape(x["token_ids"]), [width]], 0)
        # Padding is not changed: attention does not look there, and the length of a change should not count it.
        is_masked = tap is not None and "padding_mask" in x
        self.mask = tf.cast(x["padding_mask"], "float32")[..., None] if is_masked else 1.0

    def outputs(self, change):
        """Returns the model's outputs for the inputs plus `change`, float32."""
        if self.tap is None:
            return self.model(self._changed(self.x, change), training=True)
        with self.tap.through(lambda embedded: self._changed(embedded, change)):
            return self.model(self.x, training=True)

    def _changed(self, values, change):
        change *= self.mask
        if self.relative:
            change *= tf.stop_gradient(euclidean(tf.cast(values, "float32") * self.mask))
        return values + tf.cast(change, values.dtype)

    def climb(self, change, score, step, radius, norm):  # noqa: PLR0913
        """Returns `score` at `change`, `(rows,)`, and the change one step further up.

        Args:
            score: function of the outputs. step: float, length of the step. radius: float, of the ball it stays in.
            norm: function of a change that returns its length by row, broadcastable.
        """
        with tf.GradientTape() as tape:
            tape.watch(change)
            value = score(self.outputs(change))
            total = tf.reduce_sum(value)
        slope = tape.gradient(total, change) * self.mask
        moved = change + step * tf.math.divide_no_nan(slope, norm(slope))
        return value, tf.stop_gradient(_within(moved, radius, norm))


def euclidean(change):
    """Returns the length of each row's change, over all its axes."""
    return tf.sqrt(tf.reduce_sum(tf.square(change), _axes(change), keepdims=True))


def greatest(change):
    """Returns the greatest absolute number in each row's change."""
    return tf.reduce_max(tf.abs(change), _axes(change), keepdims=True)


def _within(change, radius, norm):
    """Returns the nearest change whose length is `radius` at most."""
    if norm is greatest:
        return tf.clip_by_value(change, -radius, radius)
    length = norm(change)
    return tf.where(length > radius, change * tf.math.divide_no_nan(radius, length), change)


def _axes(change):
    return list(range(1, len(change.shape)))
