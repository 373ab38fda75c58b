"""Gradient checkpointing: a block keeps only what it was given, and computes the rest again in the backward pass."""

import functools

import keras
import tensorflow as tf

from kerasft import once, surgery, taps, weights
from kerasft.errors import UserError


def set_checkpointing(model, on):
    """Has each block of a model's backbone keep, of a training step, its input alone, or all that it computes.

    Activations then take the memory of one block in place of all, and the forward pass is done twice. Loss,
    gradients and what dropout drops stay the same. Keras's `RematScope` fails in TensorFlow's graphs
    (https://github.com/keras-team/keras/issues/21207), and would draw dropout anew. A block that objectives look into
    stays as it is.

    Source: Chen et al. 2016, https://arxiv.org/abs/1604.06174.
    Raises: UserError if it is to be and the backbone's blocks are not one layer each.
    """
    _, blocks = weights.blocks(model.backbone_layers)
    if on and not _are_whole(blocks):
        raise UserError(
            "gradient_checkpointing needs a transformer, whose blocks are one layer each. "
            f"Received: backbone={model.layers[0].name!r}, {len(blocks)} blocks of several layers"
        )
    for block, *_ in blocks.values() if on else ():
        if getattr(block.call, "func", None) is not _call:
            block.call = functools.partial(_call, block, block.call)
    for block in surgery.all_layers(model):
        block.is_checkpointed = on


def can_start(model):
    """Returns whether `set_checkpointing` is not at work in a model, and would spare its training memory."""
    _, blocks = weights.blocks(model.backbone_layers)
    has_trained = model.frozen is None or model.frozen.blocks < model.frozen.of_blocks
    is_on = any(getattr(block, "is_checkpointed", False) for block, *_ in blocks.values())
    return _are_whole(blocks) and has_trained and not is_on


def _are_whole(blocks):
    return bool(blocks) and all(len(layers) == 1 for layers in blocks.values())


def _call(block, call, *args, **kwargs):
    if taps.is_seen_into(block) or not (block.is_checkpointed and surgery.is_training(block)):
        return call(*args, **kwargs)
    given = tf.nest.flatten((args, kwargs))
    differentiable = [number for number, value in enumerate(given) if tf.is_tensor(value) and value.dtype.is_floating]
    learned = block.trainable_variables
    held = [(variable, once.drawn(variable)) for variable in block.non_trainable_variables]

    def run(*tensors):
        values = tensors[len(differentiable) :]
        for number, tensor in zip(differentiable, tensors, strict=False):
            given[number] = tensor
        own_args, own_kwargs = tf.nest.pack_sequence_as((args, kwargs), given)
        with keras.StatelessScope([*held, *zip(learned, values, strict=True)]), surgery.training(block):
            return call(*own_args, **own_kwargs)

    return tf.recompute_grad(run)(*[given[number] for number in differentiable], *[v.value for v in learned])
