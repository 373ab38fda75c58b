"""Which rows form which batch, in which order, how wide: a pure function of (seed, epoch)."""

import math

import numpy as np
import tensorflow as tf

from kerasft.pipeline.text import quiet_options

WIDTHS = 8  # Shapes a text model meets; each more costs memory in the kernels' caches, each fewer padding.
GROUP = 50  # Batches that are sorted by length together: enough to save padding, few enough to stay random.


def order(seed, epoch, rows):
    """Returns the permutation of `range(rows)` for this epoch."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def training_batches(examples, batch_size, seed, epoch):
    """Returns a list of arrays of row numbers: every row once, rows of like length together, in random order.

    Rows are shuffled, then sorted by length within groups of `GROUP` batches, and the batches shuffled again.
    Examples without a length (images) are only shuffled.
    """
    lengths = _lengths(examples)
    rows = order(seed, epoch, len(lengths))
    size = batch_size * GROUP
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    groups = [group[np.argsort(-lengths[group], kind="stable")] for group in groups]
    batches = [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]
    return [batches[i] for i in np.random.default_rng([seed, epoch, 1]).permutation(len(batches))]


def ordered_batches(examples, batch_size):
    """Returns batches for evaluation: all rows, the longest first, so that memory peaks at once."""
    lengths = _lengths(examples)
    rows = np.argsort(-lengths, kind="stable")
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def choose_widths(examples, count=WIDTHS):
    """Returns the up to `count` widths in tokens, multiples of 8, that pad least if each row gets the next of them.

    None is wider than the preprocessor's `sequence_length`: a backbone may have no position beyond it.
    """
    if examples.preprocessor.fixed_width:
        return np.array([examples.preprocessor.fixed_width])
    eights = np.ceil(np.maximum(examples.lengths, 1) / 8).astype(int) * 8
    widths, rows = np.unique(np.minimum(eights, examples.preprocessor.sequence_length), return_counts=True)
    up_to = np.cumsum(rows)
    cost = (widths * up_to).astype(float)  # Positions of all rows up to a width, if it is the widest of those chosen.
    chosen = [[width] for width in widths]
    for _ in range(count - 1):
        costs = cost[:, None] + widths * (up_to - up_to[:, None])  # [i, j]: widths[i] is the one before widths[j].
        costs[np.tril_indices(len(widths))] = np.inf
        best, is_better = costs.argmin(axis=0), costs.min(axis=0) < cost
        chosen = [[*chosen[best[j]], widths[j]] if is_better[j] else chosen[j] for j in range(len(widths))]
        cost = np.minimum(cost, costs.min(axis=0))
    return np.array(chosen[-1])


def padding_share(examples, batches):
    """Returns the share of the positions of these batches that hold padding, 0 to 1."""
    lengths, widths = examples.lengths, choose_widths(examples)
    padded = sum(len(batch) * _width(lengths[batch], widths) for batch in batches)
    return 1 - float(lengths.sum()) / padded


def steps_per_epoch(rows, batch_size):
    """Returns the number of batches of an epoch, the last incomplete one included."""
    return math.ceil(rows / batch_size)


def dataset(examples, batches, replicas=1, batch_size=None, count=None):
    """Returns a `tf.data.Dataset` of `(inputs, targets)` batches, or `inputs` where there are no targets.

    Args:
        examples: `TokenizedText` or `Images`.
        batches: callable without arguments that returns an iterable of arrays of row numbers.
        replicas: int. With more than one, an incomplete batch is filled to `batch_size` with rows of weight 0
            and batches are `(inputs, targets, weights)`, so that all replicas get the same number of rows.
        batch_size: int. Rows of a full batch; needed with more than one replica.
        count: int or None. Number of batches, where it is known.
    """
    widths = None if examples.lengths is None else choose_widths(examples)

    def generate():
        for rows in batches():
            weights = np.ones(len(rows), "float32")
            if replicas > 1 and len(rows) < batch_size:
                weights = np.concatenate([weights, np.zeros(batch_size - len(rows), "float32")])
                rows = np.concatenate([rows, np.resize(rows, batch_size - len(rows))])
            inputs = examples.gather(rows, _width(examples.lengths[rows], widths) if widths is not None else None)
            targets = () if examples.targets is None else (examples.targets[rows],)
            yield (inputs, *targets, weights) if replicas > 1 else (inputs, *targets)

    signature = [examples.signature]
    if examples.targets is not None:
        shape = (None, *examples.targets.shape[1:])
        signature.append(tf.TensorSpec(shape, examples.targets.dtype))
    if replicas > 1:
        signature.append(tf.TensorSpec((None,), tf.float32))
    made = tf.data.Dataset.from_generator(generate, output_signature=tuple(signature))
    if count is not None:
        made = made.apply(tf.data.experimental.assert_cardinality(count))
    made = made.map(lambda inputs, *rest: (examples.finish(inputs), *rest), num_parallel_calls=2)
    return made.prefetch(2).with_options(quiet_options())


def _lengths(examples):
    return np.zeros(len(examples), int) if examples.lengths is None else examples.lengths


def _width(lengths, widths):
    return int(widths[np.searchsorted(widths, lengths.max())])
