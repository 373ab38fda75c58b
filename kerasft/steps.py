"""What a training step makes of its batch: all at once, or in parts one after the other where memory is short."""

import collections
import math

import tensorflow as tf

from kerasft import memory

# One batch: loss, outputs, terms by objective, gradients, and what else the pass leaves behind, `[(variable, value)]`.
Step = collections.namedtuple("Step", ("loss", "y_pred", "terms", "gradients", "updates"))
GRADIENTS = 2  # Tensors of the size of what learns that a step has at once, measured on MiniLM.
GRAPH = 100_000_000  # Bytes of the graph of a training step, measured on MiniLM.
SHARE = 0.8  # Of the memory that is free, for training steps; validation and what else the machine does have the rest.


def in_parts(model, compute, batch, values=None):
    """Returns the `Step` of a batch, computed `model.rows_at_once` rows after the other.

    Loss, terms and gradients are those of the whole batch, up to rounding and what random layers draw. Batch
    normalisation that learns takes the statistics of each part.

    Args:
        model: FineTunedModel.
        compute: function of a part, values and states that returns a `Step`, as `FineTunedModel._step`.
        batch: nested structure of tensors with rows first, and of None.
        values: None, or what the model shall have in place of its `trainable_variables`.
    """
    at_once, rows = model.rows_at_once, tf.shape(_tensors(batch)[0])[0]
    everything = _counted(batch, 0, rows)
    trained, others, unread = model.trainable_variables, model.non_trainable_variables, set()

    def add(part, loss, outputs, terms, gradients, states):
        begin, end = part * at_once, tf.minimum((part + 1) * at_once, rows)
        with model.computing_part(part):
            made = compute(_rows(batch, begin, end), values, states)
        share = _counted(batch, begin, end) / everything
        unread.update(number for number, gradient in enumerate(made.gradients) if gradient is None)
        moved = {id(variable): value for variable, value in made.updates}
        return (
            part + 1,
            loss + share * made.loss,
            outputs.write(part, made.y_pred),
            {name: total + share * made.terms[name] for name, total in terms.items()},
            [_plus(total, gradient, share) for total, gradient in zip(gradients, made.gradients, strict=True)],
            states and [moved.get(id(v), state) for v, state in zip(others, states, strict=True)],
        )

    shape = (None, *model.output_shape[1:])
    outputs = tf.TensorArray(model.output.dtype, 0, dynamic_size=True, infer_shape=False, element_shape=shape)
    nothing = [tf.zeros_like(value) for value in values or [variable.value for variable in trained]]
    states = [variable.value for variable in others] if values else []
    terms = {objective.name: tf.constant(0.0) for objective in model.objectives}
    _, loss, outputs, terms, gradients, states = tf.while_loop(
        lambda part, *_: part * at_once < rows,
        add,
        (tf.constant(0), tf.constant(0.0), outputs, terms, nothing, states),
        parallel_iterations=1,
    )
    gradients = [None if number in unread else gradient for number, gradient in enumerate(gradients)]
    updates = list(zip(others, states, strict=True)) if values else []
    return Step(loss, tf.ensure_shape(outputs.concat(), shape), terms, gradients, updates)


def rows_that_fit(model, dataset):
    """Returns how many rows of its widest batch a model can compute at once, or None for all of them.

    Tries 1 row, 2, 4 … and moves no weight. What a processor will take is forecast from the sizes before, as a process
    that takes too much is ended without a word; other devices say so.

    Args:
        model: FineTunedModel, compiled.
        dataset: tf.data.Dataset of the one batch that takes most memory, as `FineTunedModel.train_step` gets it.
    """
    batch, at_once = next(iter(dataset)), None
    rows = _tensors(batch)[0].shape[0]
    attempt = tf.function(model.attempt, input_signature=[dataset.element_spec], autograph=False)
    peaks, limit = [memory.used()], _limit(model)
    sizes = [2**power for power in range(rows.bit_length()) if 2**power < rows] + [rows]
    for size in sizes:
        if at_once and _forecast(peaks) > limit:
            break
        try:
            with memory.Watch() as watch:
                attempt(_rows(batch, 0, size))
        except tf.errors.ResourceExhaustedError:
            if not at_once:
                raise
            break
        at_once = size
        peaks.append(watch.most)
    return None if at_once == rows else at_once


def _limit(model):
    """Returns the bytes that this process may hold while it computes gradients; infinity where they are not known."""
    free = memory.free()
    if free is None or tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return float("inf")
    # What comes after the trial: moments; gradients, their sums and what the optimizer makes of them; a larger graph.
    taken = _bytes(model.optimizer.variables) + GRADIENTS * _bytes(model.trainable_variables) + GRAPH
    return memory.used() + SHARE * free[0] - taken


def _forecast(peaks):
    """Returns the peak with twice the rows of the last of these, whose first is what was in memory before."""
    *_, before, last = peaks
    return last + 2 * max(last - before, 0)


def _bytes(variables):
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def _plus(total, gradient, share):
    if gradient is None:
        return total
    return total + tf.cast(share, total.dtype) * tf.cast(tf.convert_to_tensor(gradient), total.dtype)


def _counted(batch, begin, end):
    """Returns how many rows, or positions of weight above 0, the mean over this part of a batch is of."""
    *_, weights = batch
    if weights is None:
        return tf.cast(end - begin, "float32")
    return tf.cast(tf.math.count_nonzero(weights[begin:end]), "float32")


def _rows(batch, begin, end):
    return tf.nest.map_structure(lambda tensor: None if tensor is None else tensor[begin:end], batch)


def _tensors(batch):
    return [tensor for tensor in tf.nest.flatten(batch) if tensor is not None]
