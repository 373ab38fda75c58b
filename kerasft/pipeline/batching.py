"""Which rows form which batch, in which order, how wide: a pure function of (seed, epoch)."""

import math

import numpy as np
import tensorflow as tf

from kerasft import surgery
from kerasft.errors import UserError
from kerasft.pipeline.text import quiet_options

ROWS = 32  # Of a batch, where nothing else is said.
WIDTHS = 24  # Shapes a text model meets: each has its own kernels, each fewer costs padding.
GRAIN = 2  # Widths are multiples of this.
GROUP = 50  # Batches that are sorted by length together: enough to save padding, few enough to stay random.
ROUND = 10  # Batches that have all lengths among them, as an optimizer's averages should.


def rows_of(batch_size):
    """Returns the rows of a batch: those given, or `ROWS` for "auto". Raises UserError for anything else."""
    if batch_size == "auto":
        return ROWS
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size must be a whole number, 1 or more, or 'auto'. Received: batch_size={batch_size!r}")
    return batch_size


def order(seed, epoch, rows):
    """Returns the permutation of `range(rows)` for this epoch."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def training_batches(examples, batch_size, seed, epoch):
    """Returns a list of arrays of row numbers: every row once, rows of like length together.

    Rows are shuffled, then sorted by length within groups of `GROUP` batches, whose order is random but for that
    each `ROUND` of them has short and long ones alike: what is averaged over the last batches is of all lengths.
    Examples without a length (images) are only shuffled. Where examples say how often each is met, it is, give or take
    one in an epoch; there are as many batches all the same.
    """
    lengths = _lengths(examples)
    rows = order(seed, epoch, len(lengths))
    if examples.draws is not None:
        rows = _drawn(rows, examples.draws, np.random.default_rng([seed, epoch, 2]))
    first, random = len(lengths) * (epoch % examples.views), np.random.default_rng([seed, epoch, 1])
    batches = []
    for group in _slices(rows, batch_size * GROUP):
        alike = _slices(group[np.argsort(-lengths[group], kind="stable")], batch_size)
        batches += [first + alike[number] for number in _in_rounds(len(alike), random)]
    return batches


def _in_rounds(count, random):
    """Returns the numbers below `count` in rounds of some `ROUND`: each has one of any few that follow each other."""
    rounds = math.ceil(count / ROUND)
    round_of = np.concatenate([random.permutation(rounds) for _ in range(0, count, rounds)])[:count]
    return np.lexsort((random.random(count), round_of))


def _slices(rows, size):
    """Returns a list of arrays of so many rows; the last may have fewer."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _drawn(rows, draws, random):
    """Returns as many rows in random order, each as often as it is to be drawn, rounded up or down (systematic)."""
    ends = np.cumsum(draws[rows]) * len(rows) / draws.sum()
    ends[-1] = len(rows)
    copies = np.diff(np.floor(ends + random.random()), prepend=0).astype(int)
    return random.permutation(np.repeat(rows, copies))


def batches_in_order(examples, batch_size):
    """Returns batches of all rows as they come."""
    return _slices(np.arange(len(examples)), batch_size)


def ordered_batches(examples, batch_size):
    """Returns batches for evaluation: all rows, the longest first, so that memory peaks at once."""
    lengths = _lengths(examples)
    return _slices(np.argsort(-lengths, kind="stable"), batch_size)


def choose_widths(examples, count=WIDTHS):
    """Returns the up to `count` widths in tokens, multiples of `GRAIN`, that pad least if each row gets the next.

    None is wider than the preprocessor's `sequence_length`: a backbone may have no position beyond it.
    """
    if examples.preprocessor.fixed_width:
        return np.array([examples.preprocessor.fixed_width])
    rounded = np.ceil(np.maximum(examples.lengths, 1) / GRAIN).astype(int) * GRAIN
    widths, rows = np.unique(np.minimum(rounded, examples.preprocessor.sequence_length), return_counts=True)
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
    padded = sum(len(batch) * width(lengths[batch], widths) for batch in batches)
    return 1 - float(lengths.sum()) / padded


def steps_per_epoch(rows, batch_size):
    """Returns the number of batches of an epoch, the last incomplete one included."""
    return math.ceil(rows / batch_size)


def dataset(examples, batches, replicas=1, batch_size=None, count=None, extras=None):  # noqa: PLR0913
    """Returns a `tf.data.Dataset` of `(inputs, targets)` batches, or `inputs` where there are no targets.

    Args:
        examples: `TokenizedText`, `Windows` or `Images`.
        batches: callable without arguments that returns an iterable of arrays of row numbers; called for each pass.
        replicas: int. With more than one, an incomplete batch is filled to `batch_size` with rows of weight 0
            and batches are `(inputs, targets, weights)`, so that all replicas get the same number of rows.
        batch_size: int. Rows of a full batch; needed with more than one replica.
        count: int or None. Number of batches, where it is known.
        extras: dict or None. What objectives need beside a batch, `Objective.extra` by name; inputs are then
            `{"inputs": …, "extras": {name: …}}`.
    """
    extras = extras or {}
    widths = None if examples.lengths is None else choose_widths(examples)
    signature = (*_signature(examples, replicas), {name: extra.signature for name, extra in extras.items()})
    specs = tf.nest.flatten(signature)

    def plan():
        return _table(list(batches()))

    def make(rows):
        rows, weights = _filled(rows[rows >= 0], batch_size if replicas > 1 else 0)
        plain = rows % len(examples)
        wide = width(examples.lengths[plain], widths) if widths is not None else None
        targets, given = _parted(examples.gather_targets(rows, wide))
        weights = [(weights * array.T).T for array in given] if given or replicas == 1 else [weights]
        beside = {name: extra.gather(plain) for name, extra in extras.items()}
        return tf.nest.flatten((examples.gather(rows, wide), *targets, *weights, beside))

    def gather(rows):
        made = tf.numpy_function(make, [rows], [spec.dtype for spec in specs])
        made = [tf.ensure_shape(tensor, spec.shape) for tensor, spec in zip(made, specs, strict=True)]
        return tf.nest.pack_sequence_as(signature, made)

    def finish(inputs, *rest):
        *rest, beside = rest
        inputs = examples.finish(inputs)
        finished = {name: extra.finish(beside[name]) for name, extra in extras.items()}
        return ({"inputs": inputs, "extras": finished} if extras else inputs, *rest)

    # Not `from_generator`: when it ends, TensorFlow makes the C library give back memory at once, and each step slower.
    table = tf.data.Dataset.range(1).map(lambda _: tf.numpy_function(plan, [], tf.int32, stateful=True))
    rows = table.flat_map(lambda rows: tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, (None, None))))
    if count is not None:
        rows = rows.apply(tf.data.experimental.assert_cardinality(count))
    made = rows.map(gather).map(finish, num_parallel_calls=2)
    surgery.leave_to_dataset(plan, make)
    return made.prefetch(2).with_options(quiet_options())


def _signature(examples, replicas):
    """Returns the `tf.TensorSpec`s of a batch before `examples.finish`."""
    targets, weights = _parted(examples.target_signature)
    if replicas > 1:
        weights = weights or [tf.TensorSpec((None,), tf.float32)]
    return (examples.signature, *targets, *weights)


def _parted(targets):
    """Returns the targets, and the weights after them, as lists of one or none."""
    return list(targets[:1]), list(targets[1:])


def _table(batches):
    """Returns the row numbers as `(batches, longest)` int32, shorter batches filled up with -1."""
    table = np.full((len(batches), max(map(len, batches), default=0)), -1, "int32")
    for row, batch in zip(table, batches, strict=True):
        row[: len(batch)] = batch
    return table


def _filled(rows, size):
    """Returns the row numbers repeated up to `size`, and weights that are 0 for the repetitions."""
    weights = np.ones(len(rows), "float32")
    if len(rows) >= size:
        return rows, weights
    missing = size - len(rows)
    return np.concatenate([rows, np.resize(rows, missing)]), np.concatenate([weights, np.zeros(missing, "float32")])


def _lengths(examples):
    return np.zeros(len(examples), int) if examples.lengths is None else examples.lengths


def width(lengths, widths):
    """Returns the width of a batch of rows of these lengths: the least of `widths` that holds them all."""
    return int(widths[np.searchsorted(widths, lengths.max())])
