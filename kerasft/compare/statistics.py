"""Which differences are real: intervals and tests over seeds and test examples, both of which are samples."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from kerasft.evaluation.bootstrap import Estimate

LEVEL = 0.95
ROUNDING = 1e-12  # A standard error or a difference below it is of the arithmetic alone.


class Difference(NamedTuple):
    """How much higher a variant scores than the one it is compared with, and how easily chance makes as much.

    Attributes:
        value: float. low, high: float, the 95 % interval.
        p: float. Probability of a difference this far from 0, in either direction, where there is none.
    """

    value: float
    low: float
    high: float
    p: float


def mean(scores):
    """Returns the `Estimate` of the mean of `(seeds, examples)` scores, within the lowest and highest score seen.

    Its interval is for other seeds and other examples of the same kind; of a single seed, for other examples only.
    Where all scores are the same it reaches as far towards right and wrong, 1 and 0, as the exact binomial one.
    """
    scores = np.asarray(scores, float)
    lowest, highest = _limits(scores)
    low, high = _interval(scores, lowest, highest)
    return Estimate(float(scores.mean()), max(low, lowest), min(high, highest))


def difference(scores, baseline):
    """Returns the `Difference` of two variants, paired by seed and example.

    The score of a seed on an example is taken as a sum of random effects of both, as in a study where several readers
    judge the same cases; so a result is no accident of these few seeds nor of these examples. A bootstrap over seeds
    and examples asks the same, but two or three seeds, drawn again, show at best two thirds of their variance: where
    seeds differ a lot it calls every fifth difference real where there is none.

    Differences that are the same on all examples have no spread to go by: then p is that of the exact sign test, and
    the interval allows for a share of examples that may well not be among so many, and differ as far as scores can.

    Args:
        scores, baseline: `(seeds, examples)` arrays, in the same order of seeds and examples.

    Example: >>> difference([[1, 1, 0, 1]], [[1, 0, 0, 1]]).value
        0.25
    Source: Hillis 2007, https://doi.org/10.1002/sim.2532, for two treatments; with one seed the paired t-test.
    """
    both = np.array([scores, baseline], float)
    lowest, highest = _limits(both)
    differences = both[0] - both[1]
    value, (error, freedom) = float(differences.mean()), _standard_error(differences)
    if error > ROUNDING:
        p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    else:
        p = 2 * 0.5 ** differences.shape[1] if abs(value) > ROUNDING else 1.0
    low, high = _interval(differences, lowest - highest, highest - lowest)
    return Difference(value, low, high, p)


def holm(p_values):
    """Returns p-values adjusted so that one false alarm among all is as rare as in a single test.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted.tolist()


def _limits(scores):
    """Returns the lowest and the highest score seen; where all are the same, those of wrong and right count, too."""
    low, high = float(scores.min()), float(scores.max())
    return (low, high) if low < high else (min(low, 0.0), max(high, 1.0))


def _interval(values, lowest, highest):
    """Returns the interval of the mean of values that are between two limits.

    Source: without any spread, Clopper & Pearson 1934, for an event that none of the examples showed.
    """
    value, (error, freedom) = float(values.mean()), _standard_error(values)
    if error > ROUNDING:
        half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
        return value - half, value + half
    unseen = 1 - ((1 - LEVEL) / 2) ** (1 / values.shape[1])
    return value - unseen * (value - lowest), value + unseen * (highest - value)


def _standard_error(values):
    """Returns the standard error of the mean of `(seeds, examples)` values, and its degrees of freedom.

    The mean squares of the two-way layout without repeats: what seeds add, what examples add, and the rest.
    """
    seeds, examples = values.shape
    if seeds == 1:
        return float(values.std(ddof=1)) / math.sqrt(examples), examples - 1
    of_seeds, of_examples = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_seeds[:, None] - of_examples + values.mean()
    seed_square = examples * of_seeds.var(ddof=1)
    example_square = seeds * of_examples.var(ddof=1)
    rest_square = (rest**2).sum() / ((seeds - 1) * (examples - 1))
    # No less than of the examples alone: the spread of a few seeds may be small by chance.
    total = max(seed_square + max(example_square - rest_square, 0), example_square)
    freedom = (seeds - 1) * (total / seed_square) ** 2 if seed_square > 0 else math.inf
    return math.sqrt(total / values.size), freedom
