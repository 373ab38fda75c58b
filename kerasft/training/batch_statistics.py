"""The statistics of BatchNorm, estimated again for weights that no step of training has made."""

import keras
import numpy as np
import tensorflow as tf

from kerasft import surgery


def learning_layers(model):
    """Returns the BatchNorm layers whose statistics training moves: those that are not frozen."""
    layers = surgery.all_layers(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def estimate(model, batches):
    """Sets the statistics of `learning_layers` to the mean of those of all batches, each weighted by its rows.

    Averaged weights have other activations than the weights that were averaged: with the averages of their statistics
    a network can be as bad as an untrained one. Does nothing to a model without such layers.

    Args:
        model: keras.Model.
        batches: function without arguments that returns the `tf.data.Dataset` of training batches.

    Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, section 3.3.
    """
    layers = learning_layers(model)
    if not layers:
        return
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    sums, rows = [np.zeros(variable.shape) for variable in statistics], 0
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0  # So that after each batch the statistics are those of this batch.
        forward = tf.function(lambda inputs: model(inputs, training=True), reduce_retracing=True)
        for inputs, *_ in batches():
            count = len(forward(inputs))
            sums = [total + count * variable.numpy() for total, variable in zip(sums, statistics, strict=True)]
            rows += count
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for variable, total in zip(statistics, sums, strict=True):
        variable.assign(total / rows)
