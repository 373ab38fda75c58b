"""Blocks that are alike, traced once: of a stack of them the graph holds one, and calls it for each."""

import weakref

import keras
import tensorflow as tf

from kerasft import deltas, surgery


def call(block, function, *tensors):
    """Returns `function(*tensors)`, what a block that is trained computes, by a graph that blocks like it share.

    Of a decoder of 30 blocks with LoRA the first step comes in a third of the time. Blocks are alike if their classes,
    weights and deltas are; other settings must be. Several devices, each with a thread and a graph of its own, trace
    every block.

    Args:
        block: keras.layers.Layer.
        function: of nested structures of tensors; reads no variables but the block's, and calls nothing that keeps
            tensors for later.
        tensors: nested structures of tensors.
    """
    if tf.executing_eagerly() or tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return function(*tensors)
    variables = block.variables
    kind = type(block), _settings(block), *((v.name, tuple(v.shape), v.dtype, v.trainable) for v in variables)
    traced = _traced.setdefault(tf.compat.v1.get_default_graph(), {})
    if kind not in traced:
        traced[kind] = _function(block, function, variables)
    with surgery.without_autocast():
        values = [v.value if v.trainable else drawn(v) for v in variables]
    return traced[kind](values, *tensors)


def drawn(variable):
    """Returns the value of a variable for one pass; the seed of a random layer goes on by one draw."""
    value = tf.convert_to_tensor(variable.value)
    if variable.path.endswith("seed_generator_state"):
        variable.assign(value + tf.constant([0, 1], value.dtype))
    return value


def _settings(block):
    """Returns the settings of the deltas of a block."""
    every = [vars(delta) for delta in surgery.all_layers(block) if isinstance(delta, deltas.Delta)]
    plain = [
        {k: v for k, v in each.items() if k[0] != "_" and isinstance(v, (bool, int, float, str))} for each in every
    ]
    return tuple(tuple(sorted(each.items())) for each in plain)


def _function(block, function, variables):
    def run(values, *tensors):
        pairs = zip(variables, values, strict=True)
        held = [(v, value if v.trainable else tf.stop_gradient(value)) for v, value in pairs]
        with keras.StatelessScope(held), surgery.training(block):
            return function(*tensors)

    # Inlined, there would be as many graphs again as there are blocks.
    return tf.function(run, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True})


_traced = weakref.WeakKeyDictionary()  # By graph, by kind of block.
