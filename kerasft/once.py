"""Blocks that are alike, traced once: of a stack of them the graph holds one, and calls it for each."""

import functools
import weakref

import keras
import keras_hub
import tensorflow as tf

from kerasft import lean, surgery, taps


def share_traces(model):
    """Has the blocks of an encoder be traced once where they learn; a decoder's are by `shared`.

    Of a 6-layer BERT the graph of a step is made in three quarters of the time. A block that objectives look into, and
    one of which a single token is read, are traced on their own.
    """
    for block in surgery.all_layers(model):
        is_encoder = isinstance(block, keras_hub.layers.TransformerEncoder)
        if is_encoder and getattr(block.call, "func", None) is not _call_block:
            block.call = functools.partial(_call_block, block, block.call)


def call(block, function, *tensors):
    """Returns `function(*tensors)`, what a block that is being called computes, by graphs that blocks like it share.

    Of a decoder of 30 blocks with LoRA the first step comes in a third of the time. For the backward pass only that is
    kept which it reads and which does not depend on weights alone: TensorFlow would keep all that gradients might
    need of frozen weights too, and copies of these in lower precision.

    Blocks are alike if their classes, settings, weights and deltas are. Several devices, each with a thread and a graph
    of its own, trace every block.

    Args:
        block: keras.layers.Layer.
        function: of nested structures of tensors; reads no variables but the block's. Returns a tensor of the shape
            and type of the first.
        tensors: nested structures of tensors.
    """
    if tf.executing_eagerly() or tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return function(*tensors)
    with surgery.without_autocast():
        values = [v.value if v.trainable else drawn(v) for v in block.variables]
    given = [*tf.nest.flatten(tensors), *map(tf.convert_to_tensor, values)]
    weights = tuple((variable.name, variable.trainable) for variable in block.variables)
    settings = type(block), surgery.is_training(block), _settings(block)
    kind = settings, weights, tuple((tensor.dtype, tuple(tensor.shape)) for tensor in given)
    traced = _traced.setdefault(tf.compat.v1.get_default_graph(), {})
    if kind not in traced:
        traced[kind] = _halves(block, function, tensors, given)
    return traced[kind](*given)


def drawn(variable):
    """Returns the value of a variable for one pass; the seed of a random layer goes on by one draw."""
    value = tf.convert_to_tensor(variable.value)
    if surgery.is_seed(variable):
        variable.assign(value + tf.constant([0, 1], value.dtype))
    return value


def _call_block(block, plain, inputs, padding_mask=None, training=None, **others):
    is_alone = others or padding_mask is None or taps.is_seen_into(block) or lean.is_read_at_first_token(block)
    if is_alone or not training:
        return plain(inputs, padding_mask=padding_mask, training=training, **others)

    def compute(inputs, padding_mask):
        return plain(inputs, padding_mask=padding_mask, training=training)

    outputs = call(block, compute, inputs, padding_mask)
    outputs.set_shape(inputs.shape)
    return outputs


def _settings(block):
    """Returns the settings of a block and of the layers within it: their plain attributes, and functions by name."""
    return tuple(
        (key, getattr(value, "__name__", value))
        for layer in (block, *surgery.all_layers(block))
        for key, value in sorted(vars(layer).items())
        if key[0] != "_" and key != "name" and (isinstance(value, (bool, int, float, str)) or key == "activation")
    )


def _halves(block, function, tensors, given):
    """Returns a function of flat tensors and the values of a block's variables, each of whose passes is a graph."""
    graph, wanted = _trace(block, function, tensors, given)
    upstream, *feeds = graph.inputs
    captured = [outside for outside, _ in graph.captures]
    outputs, gradients = graph.structured_outputs
    found = {place: gradient for place, gradient in zip(wanted, gradients, strict=True) if gradient is not None}
    after = _dependents(graph, [upstream.op])
    random = [op for op in graph.get_operations() if op.op_def.is_stateful]
    moving = _dependents(graph, [*(t.op for t in graph.inputs[: 1 + len(tf.nest.flatten(tensors))]), *random])
    backward_part = _reached(found.values(), lambda tensor: tensor.op in after)
    read = {tensor.name: tensor for op in backward_part for tensor in op.inputs if tensor.op in moving - after}
    kept = [tensor for tensor in read.values() if tensor.op.type != "Placeholder" and surgery.is_training(block)]
    whole = graph.as_graph_def()
    forward = _cut(whole, feeds, [outputs, *kept])
    backward = _cut(whole, [*feeds, *kept, upstream], list(found.values()))

    @tf.custom_gradient
    def run(*inputs):
        with surgery.unrecorded():
            outputs, *kept = forward(*inputs, *captured)

        def gradient(upstream):
            made = dict(zip(found, backward(*inputs, *captured, *kept, upstream), strict=True))
            return [made.get(place) for place in range(len(inputs))]

        return outputs, gradient

    return run


def _trace(block, function, tensors, given):
    """Returns the graph of both passes and the places of those given that it has gradients of.

    Its inputs are the gradient of the outputs and what is given.
    """
    flat, is_training = len(tf.nest.flatten(tensors)), surgery.is_training(block)
    learns = [True] * flat + [variable.trainable for variable in block.variables]
    wanted = [place for place, tensor in enumerate(given) if tensor.dtype.is_floating and learns[place]]

    def both(upstream, *given):
        values = zip(block.variables, given[flat:], strict=True)
        with keras.StatelessScope(list(values)), surgery.training(block, is_training):
            outputs = function(*tf.nest.pack_sequence_as(tensors, given[:flat]))
        # No tape: none records while `tf.recompute_grad` runs a block forward.
        return outputs, tf.gradients(outputs, [given[place] for place in wanted], upstream)

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in given]
    return tf.function(both, autograph=False).get_concrete_function(specs[0], *specs).graph, wanted


def _dependents(graph, sources):
    """Returns the operations of a graph that depend on these, these included."""
    found = set(sources)
    for op in graph.get_operations():  # In the order in which they were made, so after those that they read.
        if any(tensor.op in found for tensor in op.inputs):
            found.add(op)
    return found


def _reached(tensors, passes):
    """Returns the operations that make these tensors, and what they read, as far as `passes(tensor)` lets it go."""
    found, left = {}, [tensor for tensor in tensors if passes(tensor)]
    while left:
        op = left.pop().op
        if op not in found:
            found[op] = None
            left += [tensor for tensor in op.inputs if passes(tensor)]
    return found


def _cut(whole, feeds, fetches):
    """Returns a function that computes tensors of a GraphDef from others, at each call by one and the same graph."""
    fed = {tensor.name for tensor in feeds}
    part = _reached(fetches, lambda tensor: tensor.name not in fed)
    definition = _definition(whole, {op.name for op in part})
    inner = {tensor.name for op in part for tensor in op.inputs} & fed
    used = [place for place, tensor in enumerate(feeds) if tensor.name in inner | {t.name for t in fetches}]
    made = [tensor.name for tensor in fetches if tensor.name not in fed]

    def run(*values):
        given = {feeds[place].name: value for place, value in zip(used, values, strict=True)}
        read = {name: value for name, value in given.items() if name in inner}
        computed = tf.graph_util.import_graph_def(definition, read, made, name="")
        found = given | dict(zip(made, computed, strict=True))
        return [found[tensor.name] for tensor in fetches]

    # Inlined, there would be as many graphs again as there are blocks.
    function = tf.function(run, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True})
    return lambda *values: function(*(values[place] for place in used))


def _definition(whole, names):
    """Returns the GraphDef of the operations of these names, a part of another."""
    definition = tf.compat.v1.GraphDef(library=whole.library, versions=whole.versions)
    definition.node.extend(node for node in whole.node if node.name in names)
    for node in definition.node:
        inputs = [name for name in node.input if name[0] != "^" or name[1:] in names]
        del node.input[:]
        node.input.extend(inputs)
        node.attr.pop("_class", None)  # Names operations to be near to, which may be in the other half.
    return definition


_traced = weakref.WeakKeyDictionary()  # By graph, by kind of block.
