"""Confidence intervals by drawing the test examples again and again."""

import warnings
from typing import NamedTuple

import numpy as np

from kerasft.errors import UserError


class Estimate(NamedTuple):
    """A measured value and the interval that holds the true one with the level's probability.

    Example:
        >>> print(Estimate(0.913, 0.8998, 0.9259))
        0.9130 [0.8998, 0.9259]
    """

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def intervals(measures, targets, outputs, resamples=1000, seed=0, level=0.95):
    """Returns the value of each measure on all rows, and its percentile bootstrap interval.

    A resample is told to a measure as how often each row was drawn, so that whatever depends on the rows alone
    (a sort, a loss) is computed once, not once a resample. All measures see the same resamples. One that is
    not defined on a resample, such as recall of a class that was not drawn, is NaN there and left out.

    Args:
        measures: dict of name to `function(targets, outputs, weights) -> float`, `weights` being `(rows,)`
            float64, 0 or more. A function may return an array instead; then its Estimate holds arrays.
        targets: array with one entry a row.
        outputs: whatever the measures read; handed on as it is.
        resamples: int, 1 or more.
        seed: int.
        level: float between 0 and 1.

    Returns: dict of name to `Estimate`.
    Raises: UserError if `resamples` or `level` is out of range, or there are no rows.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    rows = len(targets)
    if rows < 1 or resamples < 1 or not 0 < level < 1:
        raise UserError(
            "An interval needs one row, one resample and a level between 0 and 1. "
            f"Received: rows={rows}, resamples={resamples}, level={level}"
        )
    rng = np.random.default_rng(seed)
    drawn = {name: [] for name in measures}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(float)
        for name, measure in measures.items():
            drawn[name].append(measure(targets, outputs, weights))
    everything = np.ones(rows)
    values = {name: measure(targets, outputs, everything) for name, measure in measures.items()}
    return {name: _estimate(values[name], *_percentiles(drawn[name], level)) for name in measures}


def ratio(part, whole, of_all=0):
    """Returns `part / whole`. Where `whole` is 0: 0 if it is 0 of all rows too (`of_all`), NaN if none were drawn."""
    nothing = np.where(np.asarray(of_all) > 0, np.nan, np.zeros(np.shape(whole)))
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) != 0)


def _estimate(*parts):
    return Estimate(*parts) if np.ndim(parts[0]) else Estimate(*map(float, parts))


def _percentiles(drawn, level):
    with warnings.catch_warnings():
        # Defined on no resample at all: NaN says so.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return np.nanpercentile(drawn, [50 - 50 * level, 50 + 50 * level], axis=0)
