"""What objectives share that make each row of a batch out of two."""

import contextlib
import threading
from typing import ClassVar

import tensorflow as tf

from kerasft.checks import check
from kerasft.objectives.base import Objective


class Mixing(Objective):
    """Makes rows out of two and scores them by the targets of both, each with its share. A subclass overrides `mix`.

    Args:
        alpha: float above 0. The share is drawn from the distribution Beta(alpha, alpha), once a batch: below 1 most
            rows are nearly one of the two, far above 1 all are half of each.
    """

    rows_apart: ClassVar[bool] = False
    mixes: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = True

    def __init__(self, alpha):
        check(self.name, "alpha", alpha, 0, low_is_allowed=False)
        self.alpha = alpha
        self.local = threading.local()

    def mix(self, model, x, share, partners):
        """Returns a context manager that gives the mixed `x`, and how much of it is each row's own."""
        raise NotImplementedError

    @contextlib.contextmanager
    def forward(self, model, x, y):
        share, partners = self._drawn(model, tf.shape(y)[0])
        with self.mix(model, x, share, partners) as (x, share):
            self.local.pair = share, partners
            yield x
            self.local.pair = None

    def loss(self, inner, y, y_pred):
        pair = getattr(self.local, "pair", None)
        if pair is None:
            return inner(y, y_pred)
        share, partners = pair
        return share * inner(y, y_pred) + (1 - share) * inner(tf.gather(y, partners), y_pred)

    def _drawn(self, model, rows):
        """Returns the share of each row's own, a scalar, and the number of the row that it is mixed with."""
        gammas = tf.random.stateless_gamma((2,), model.step_seed(self.name), self.alpha)
        order = tf.argsort(tf.random.stateless_uniform((rows,), model.step_seed(f"{self.name} order")))
        # Both can be 0 where alpha is small: then the row stays as it is.
        return tf.math.divide_no_nan(gammas[0], tf.reduce_sum(gammas)), order


def blended(values, share, partners):
    """Returns `share * values + (1 - share) * values[partners]`."""
    share = tf.cast(share, values.dtype)
    return share * values + (1 - share) * tf.gather(values, partners)
