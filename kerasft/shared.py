"""What all rows of a batch begin with, computed once: in a decoder, no token depends on those after it."""

import collections
import contextlib
import functools
import threading

import tensorflow as tf

from kerasft import hub_blocks, once, surgery, taps

# How the tokens of a batch lie in one row: those that are `shared`, then the others of the first row, the second …
Layout = collections.namedtuple("Layout", ("shared", "rows", "mask", "positions"))


def share_beginnings(model):
    """Has the blocks of a decoder compute what all rows of a batch begin with for all of them at once.

    A system message, an instruction and the chat template before a prompt are such beginnings. Loss and gradients stay
    the same up to rounding; what dropout drops of the beginning it drops for all rows. Rows stay apart where
    objectives look into the model, as these may want gradients row by row, and where a block puts something in front of
    each row. So they do on GPUs and TPUs, where Keras compiles with XLA: it must know all sizes beforehand, and this
    one depends on the batch.
    """
    if not is_on_processors():
        return
    for block in surgery.all_layers(model):
        attention = hub_blocks.rotary_attention(block)
        if attention is not None and getattr(block.call, "func", None) is not _call_block:
            block.call = functools.partial(_call_block, block, model, block.call)
            hub_blocks.wrap_attention(attention, _attend, _positions)


def is_on_processors():
    """Returns whether there are no devices but processors."""
    return all(device.device_type == "CPU" for device in tf.config.list_physical_devices())


@contextlib.contextmanager
def evaluating():
    """Lets rows share what they begin with where nothing learns, too, in the calls of this thread meanwhile.

    Elsewhere they do not, as in exports and explanations.
    """
    _thread.is_evaluating = True
    try:
        yield
    finally:
        _thread.is_evaluating = False


def _call_block(block, model, call, x, decoder_padding_mask=None, training=None, **others):
    if decoder_padding_mask is None or others or not _may_share(model, block):
        return call(x, decoder_padding_mask=decoder_padding_mask, training=training, **others)
    joined, layout = getattr(x, "joined", None) or _joined(block, x, decoder_padding_mask)
    joined = once.call(block, functools.partial(_call_joined, call, training), joined, tuple(layout))
    joined.set_shape((1, None, x.shape[-1]))
    outputs = _whole(_split(joined, layout), layout)
    outputs.joined = joined, layout  # The next block takes it as it is, and these outputs are never computed.
    return outputs


def _call_joined(call, training, joined, layout):
    _thread.layout = Layout(*layout)
    try:
        return call(joined, training=training)
    finally:
        _thread.layout = None


def _joined(block, x, padding_mask):
    """Returns what a block is given, `(batch, length, width)`, in one row of tokens, and its `Layout`."""
    rows, length = tf.shape(x)[0], tf.shape(x)[1]
    same = tf.reduce_all(x == x[:1], -1) & tf.cast(padding_mask, "bool")
    shared = tf.reduce_sum(tf.math.cumprod(tf.cast(tf.reduce_all(same, 0), "int32")))
    places = tf.range(length)
    positions = tf.concat([places[:shared], tf.tile(places[shared:], [rows])], 0)
    layout = Layout(shared, rows, hub_blocks.self_attention_mask(block, x, padding_mask), positions)
    beginning, rest = tf.split(x, [shared, length - shared], 1)
    return _in_a_row(beginning[:1], rest), layout


def _may_share(model, block):
    is_wanted = surgery.is_training(block) or getattr(_thread, "is_evaluating", False)
    is_by_token = all(getattr(layer, "is_by_token", True) for layer in surgery.all_layers(block))
    return is_wanted and is_by_token and not taps.is_seen_into(model)


def _in_a_row(beginning, rest):
    return tf.concat([beginning, tf.reshape(rest, [1, -1, *rest.shape[2:]])], 1)


def _split(joined, layout):
    """Returns of `(1, tokens, …)` what belongs to all rows, `(1, shared, …)`, and what to each, `(rows, others, …)`."""
    beginning, rest = tf.split(joined, [layout.shared, tf.shape(joined)[1] - layout.shared], 1)
    return beginning, tf.reshape(rest, [layout.rows, -1, *joined.shape[2:]])


def _whole(parts, layout):
    """Returns `(rows, length, …)` of what `_split` returns."""
    beginning, rest = parts
    return tf.concat([tf.repeat(beginning, layout.rows, 0), rest], 1)


def _attend(compute, query, key, value, attention_mask=None, **others):
    layout = getattr(_thread, "layout", None)
    if layout is None:
        return compute(query, key, value, attention_mask, **others)
    shared, mask = layout.shared, layout.mask
    query, key, value = (_split(tensor, layout) for tensor in (query, key, value))
    first = compute(query[0], key[0], value[0], mask[:1, :shared, :shared], **others)
    rest = compute(query[1], _whole(key, layout), _whole(value, layout), mask[:, shared:], **others)
    return _in_a_row(first, rest)


def _positions(compute, *args, **kwargs):
    layout = getattr(_thread, "layout", None)
    return compute(*args, **kwargs) if layout is None else tf.cast(layout.positions, "float32")


_thread = threading.local()
