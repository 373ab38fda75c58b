"""Kernels of a frozen backbone in 8 or 4 bits, in memory as well as on disk."""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from kerasft import surgery, weights
from kerasft.axes import Axes, product

BLOCK = 64  # Weights that share a scale.
# NormalFloat: the quantiles of a normal distribution, scaled to end at -1 and 1, with 0 among them (appendix E).
NORMAL_FLOAT = np.array(
    [
        *(-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0),
        *(0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0),
    ],
    dtype="float32",
)


class QuantizedKernel(keras.layers.Layer):
    """Takes the place of the kernel of a Dense or EinsumDense layer; it does not learn, gradients pass through it.

    Its weights are `codes` and `scales`, the largest absolute value of each block of 64 weights. With 8 bits a weight
    is one of 255 even steps of it, with 4 one of the 16 levels of NormalFloat, two a byte. The scales take half a bit
    a weight. Keras's own `quantize` was not used: its layers do not go through `call`, where deltas are, and lose their
    quantization when the dtype policy changes.

    Args:
        bits: int. 8 or 4.

    Source: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, section 3, without double quantization.
    """

    def __init__(self, bits):
        super().__init__(name="quantized_kernel", trainable=False)
        self.bits = bits
        self.is_on = True

    def build_for(self, layer):
        """Makes codes and scales of the layer's kernel."""
        self.axes, self.kernel_shape = Axes(layer), tuple(layer.kernel.shape)
        codes, scales = encode(layer.kernel.numpy(), self.bits)
        self.codes = self.add_weight(name="codes", shape=codes.shape, dtype=codes.dtype.name, trainable=False)
        self.scales = self.add_weight(name="scales", shape=scales.shape, trainable=False)
        self.codes.assign(codes)
        self.scales.assign(scales)
        self.built = True

    def kernel(self, dtype):
        """Returns the kernel that codes and scales stand for."""
        return decode(tf.convert_to_tensor(self.codes), tf.convert_to_tensor(self.scales), self.kernel_shape, dtype)

    def call(self, inputs):
        axes = self.axes

        @tf.custom_gradient
        def multiplied(x):
            def gradient(upstream):
                # Made anew, and not before it is needed: else all kernels wait in full for the backward pass.
                with tf.control_dependencies([upstream]):
                    kernel = self.kernel(x.dtype)
                return product(upstream, kernel, axes.written, axes.kernel, axes.read)

            return product(x, self.kernel(x.dtype), axes.read, axes.kernel, axes.written), gradient

        return multiplied(inputs)


def layers(model):
    """Returns the layers of the backbone whose kernels can be quantized: Dense and EinsumDense, and no subclasses."""
    kinds = (keras.layers.Dense, keras.layers.EinsumDense)
    return [layer for layer in weights.layers_below_head(model) if type(layer) in kinds and layer.weights]


def quantize(layer, bits):
    """Replaces the kernel of a layer for good. Call within the scope of the strategy and before deltas are attached."""
    kernel = QuantizedKernel(bits)
    with weights.beside(layer, kernel):
        kernel.build_for(layer)
    surgery.add_sublayer(layer, kernel)
    surgery.drop_kernel(layer)
    layer.call = functools.partial(_call, layer, layer.call, kernel)


def of(model):
    """Returns the pairs `(layer, quantized kernel)` of a model."""
    found = ((layer, part) for layer in surgery.all_layers(model) for part in surgery.sublayers(layer))
    return [(layer, part) for layer, part in found if isinstance(part, QuantizedKernel)]


@contextlib.contextmanager
def dequantized(model):
    """Gives quantized layers kernels in float32 for a while: the same outputs, in the layers' own operations."""
    pairs = [(layer, kernel) for layer, kernel in of(model) if kernel.is_on]
    try:
        for layer, kernel in pairs:
            surgery.give_kernel(layer, kernel.kernel("float32"))
            kernel.is_on = False
        yield
    finally:
        for layer, kernel in pairs:
            if not kernel.is_on:
                surgery.drop_kernel(layer)
            kernel.is_on = True


def encode(kernel, bits):
    """Returns codes, `(blocks, 64)` int8 or `(blocks, 32)` uint8, and scales, `(blocks, 1)` float32, of an array."""
    flat = kernel.reshape(-1)
    blocks = np.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    units = blocks / np.where(scales > 0, scales, 1)
    if bits == 8:
        return np.rint(127 * units).astype("int8"), scales / 127
    between = (NORMAL_FLOAT[1:] + NORMAL_FLOAT[:-1]) / 2
    nearest = np.searchsorted(between, units).astype("uint8")
    return nearest[:, ::2] | nearest[:, 1::2] << 4, scales


def decode(codes, scales, shape, dtype):
    """Returns the tensor of this shape that `encode` made codes and scales of."""
    values = tf.cast(codes, dtype)
    if codes.dtype == tf.uint8:
        bytes_ = np.arange(256)
        pairs = NORMAL_FLOAT[np.stack([bytes_ & 15, bytes_ >> 4], axis=1)]
        values = tf.reshape(tf.gather(tf.cast(pairs, dtype), tf.cast(codes, tf.int32)), (-1, BLOCK))
    flat = tf.reshape(values * tf.cast(scales, dtype), (-1,))
    return tf.reshape(flat[: np.prod(shape)], shape)


def _call(layer, call, kernel, inputs, *args, **kwargs):
    if not kernel.is_on:
        return call(inputs, *args, **kwargs)
    outputs = kernel(inputs)
    if layer.bias is not None:
        outputs = keras.ops.add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)
