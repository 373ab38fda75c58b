"""What all stores of examples share, of which `batching` makes batches."""

from typing import Any

import numpy as np
import tensorflow as tf


class Examples:
    """Examples with one target each, or without. A subclass has `targets`, `lengths` and `gather`.

    Attributes:
        targets: array with one entry a row, or None.
        lengths: `(rows,)` int, tokens of each row, or None where all are of one size.
        signature: the `tf.TensorSpec`s of what `gather` returns.
        views: int. Ways in which an example is met, another in each epoch; row numbers beyond those of the examples
            say which: `view * len(examples) + row`.
        draws: `(rows,)` float, how often each row is met in an epoch of training, relative to the others; or None.
        is_by_row: bool. Whether a batch has one entry of the inputs for each example.
    """

    is_by_row = True
    views = 1
    draws: Any = None
    targets: Any

    @property
    def target_signature(self):
        """The `tf.TensorSpec`s of what `gather_targets` returns."""
        if self.targets is None:
            return ()
        return (tf.TensorSpec((None, *self.targets.shape[1:]), self.targets.dtype),)

    def gather_targets(self, rows, width=None):
        """Returns `(targets,)` of these rows, or `(targets, weights)` where not all count, or `()` without targets."""
        return () if self.targets is None else (self.targets[rows],)

    def rows_of(self, numbers):
        """Returns the numbers of the rows of the data that the examples with these numbers are made of."""
        return numbers

    def restored(self, made, batches):
        """Returns what a model made of these batches, one after the other, in the order of the examples."""
        in_order = np.empty_like(made)
        in_order[np.concatenate(batches)] = made
        return in_order

    def finish(self, inputs):
        """Returns the inputs of a batch when what is left to do, in the graph, is done: nothing."""
        return inputs
