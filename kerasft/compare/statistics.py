"""Which differences are real: intervals and tests over seeds and test examples, both of which are samples."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from kerasft.evaluation.bootstrap import Estimate

LEVEL = 0.95


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
    """
    scores = np.asarray(scores, float)
    value, half = float(scores.mean()), _half_width(scores)
    return Estimate(value, max(value - half, float(scores.min())), min(value + half, float(scores.max())))


def difference(scores, baseline):
    """Returns the `Difference` of two variants, paired by seed and example.

    The score of a seed on an example is taken as a sum of random effects of both, as in a study where several readers
    judge the same cases; so a result is no accident of these few seeds nor of these examples. A bootstrap over seeds
    and examples asks the same, but two or three seeds, drawn again, show at best two thirds of their variance: where
    seeds differ a lot it calls every fifth difference real where there is none.

    Args:
        scores, baseline: `(seeds, examples)` arrays, in the same order of seeds and examples.

    Example: >>> difference([[1, 1, 0, 1]], [[1, 0, 0, 1]]).value
        0.25
    Source: Hillis 2007, https://doi.org/10.1002/sim.2532, for two treatments; with one seed the paired t-test.
    """
    differences = np.asarray(scores, float) - np.asarray(baseline, float)
    value, half = float(differences.mean()), _half_width(differences)
    error, freedom = _standard_error(differences)
    p = 2 * float(stats.t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    return Difference(value, value - half, value + half, p)


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


def _half_width(values):
    error, freedom = _standard_error(values)
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error


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
