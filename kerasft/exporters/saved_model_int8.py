"""A SavedModel whose weights take a quarter of the room: 8 bits each, made float32 again while it answers."""

import contextlib
import functools
import sys

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from kerasft import deltas, quantization, weights
from kerasft.exporters import saved_model

KERNELS = {
    **dict.fromkeys((keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Conv2D), "kernel"),
    keras_hub.layers.PositionEmbedding: "position_embeddings",
}
TABLES = (keras.layers.Embedding, keras_hub.layers.ReversibleEmbedding)
LEAST = 4096  # Numbers of a weight below which nothing is to be saved.


def write(tuner, path):
    """Writes what `saved_model` does, with the large weights of the backbone in 8 bits, 64 of which share a scale.

    Kernels of Dense, EinsumDense and Conv2D layers and the tables of embeddings are rounded; the head, biases,
    normalisations and depthwise convolutions stay as they are. The export is checked against `predict` of a model
    whose weights are rounded likewise, so it computes what it should; by how much that is another answer than in
    float32 is said of the run's samples. Each request decodes the kernels and, of embeddings, the rows that it reads.

    Args: tuner, path: as of `saved_model`. Raises: as `saved_model`.
    """
    model, samples = tuner.model, tuner.samples
    before = None if samples is None else tuner.decoded(samples)
    with deltas.merged(model), _Rounded(model) as rounded:
        saved_model.save(tuner, path, rounded.decoding)
        if samples is not None:
            print(_difference(before, tuner.decoded(samples)), file=sys.stderr)


class _Rounded:
    """Within a `with`, a model whose large weights have the values that 8 bits leave of them."""

    def __init__(self, model):
        layers = weights.layers_below_head(model)
        self.tables = [layer for layer in layers if isinstance(layer, TABLES)]
        large = {}
        for layer in layers:
            for variable in _kernels(layer):
                if len(variable.shape) > 1 and np.prod(variable.shape) >= LEAST:
                    large[id(variable)] = variable
        self.variables = list(large.values())

    def __enter__(self):
        self.before, self.codes = [], {}
        for variable in self.variables:
            value = variable.numpy().copy()
            self.before.append(value)
            codes, scales = (tf.Variable(part, trainable=False) for part in quantization.encode(value, bits=8))
            self.codes[id(variable)] = codes, scales
            variable.assign(_decoded(variable, codes, scales))
        return self

    def __exit__(self, *_):
        for variable, value in zip(self.variables, self.before, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def decoding(self):
        """Has the graph that is traced meanwhile read the codes in place of the weights."""
        patched = [layer for layer in self.tables if self._is_by_row(layer)]
        for layer in patched:
            layer.call = functools.partial(_looked_up, layer, layer.call, *self.codes[id(layer.embeddings)])
        try:
            with keras.StatelessScope([(v, _decoded(v, *self.codes[id(v)])) for v in self.variables]):
                yield
        finally:
            for layer in patched:
                del layer.call

    def _is_by_row(self, layer):
        """Returns whether a table's blocks end where its rows do, and nothing of ours stands before its `call`."""
        is_whole = id(layer.embeddings) in self.codes and layer.embeddings.shape[1] % quantization.BLOCK == 0
        return is_whole and "call" not in vars(layer)


def _kernels(layer):
    if isinstance(layer, TABLES):
        return [layer.embeddings, *([] if getattr(layer, "tie_weights", True) else [layer.reverse_embeddings])]
    return [getattr(layer, KERNELS[type(layer)])] if type(layer) in KERNELS and layer.weights else []


def _decoded(variable, codes, scales):
    return quantization.decode(
        tf.convert_to_tensor(codes), tf.convert_to_tensor(scales), tuple(variable.shape), "float32"
    )


def _looked_up(layer, call, codes, scales, inputs, reverse=False):
    if reverse:
        return call(inputs, reverse=True)
    rows, width = layer.embeddings.shape
    ids = tf.cast(inputs, "int32")
    blocks = [tf.gather(tf.reshape(part, (rows, width // quantization.BLOCK, -1)), ids) for part in (codes, scales)]
    values = tf.cast(blocks[0], "float32") * blocks[1]
    return tf.cast(tf.reshape(values, tf.concat([tf.shape(ids), [width]], axis=0)), layer.compute_dtype)


def _difference(before, after):
    """Returns the line that says how far answers are from those in float32."""
    found = []
    for name, values in before.items():
        one, other = values.numpy(), after[name].numpy()
        if values.dtype.is_floating and one.shape == other.shape:
            found.append(f"{name} differs by at most {np.abs(one - other).max(initial=0):.2g}")
        elif not values.dtype.is_floating:  # Of spans there may be another number, and so no scores to compare.
            count = sum(ours != theirs for ours, theirs in zip(_told(one), _told(other), strict=True))
            found.append(f"{name} is another in {count} of {len(one)}")
    return f"Beside float32, on the samples of the run: {'; '.join(found)}."


def _told(values):
    """Returns each row as a list, without what fills it up where others have more spans."""
    return [[value for value in row if value not in (b"", -1)] for row in values.reshape(len(values), -1).tolist()]
