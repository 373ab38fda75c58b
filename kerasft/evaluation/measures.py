"""Measures of a classifier on weighted rows: `measure(targets, outputs, weights) -> float`, for the bootstrap.

`targets` are `(rows,)` class numbers, or `(rows, classes)` of 0 and 1 where an example may have any number of
labels. `outputs` are `Outputs`. `weights` are `(rows,)`, 0 or more; a row of weight 2 counts as two rows.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import special

from kerasft.evaluation.bootstrap import ratio

BINS = 15  # of equal width, as in Guo et al. 2017


class Ranking(NamedTuple):
    """What the area under the ROC curve needs of one column of scores: everything that weights do not change.

    Attributes:
        positives: `(p,)` numbers of the positive rows.
        negatives: `(n,)` numbers of the negative rows, by rising score.
        below: `(p,)`, how many negatives score below each positive.
        up_to: `(p,)`, how many score no higher; the difference is the ties.
    """

    positives: np.ndarray
    negatives: np.ndarray
    below: np.ndarray
    up_to: np.ndarray


@dataclasses.dataclass
class Outputs:
    """What the measures read of a model's outputs, computed once for all resamples.

    Attributes:
        probabilities: `(rows, classes)` float64.
        predicted: `(rows,)` class numbers, or `(rows, classes)` of 0 and 1 with several labels.
        is_right: `(rows,)` bool. With several labels: all of them right.
        losses: `(rows,)` cross entropy, with several labels the mean of their binary cross entropies.
        confidence: `(rows,)` probability of the predicted class. Not with several labels.
        rankings: list of a `Ranking` for each class, for two classes that of class 1.
        counts: of all rows, as `_counts` returns them of those of a resample.
    """

    probabilities: np.ndarray
    predicted: np.ndarray
    is_right: np.ndarray
    losses: np.ndarray
    confidence: np.ndarray | None
    rankings: list
    counts: tuple = ()


def prepare(targets, logits):
    """Returns the `Outputs` of `(rows, classes)` logits for checked targets."""
    made = (_prepare_labels if targets.ndim == 2 else _prepare_classes)(targets, logits)
    return dataclasses.replace(made, counts=_counts(targets, made, np.ones(len(targets))))


def _prepare_classes(targets, logits):
    log_probabilities = special.log_softmax(logits, axis=1)
    probabilities = special.softmax(logits, axis=1)
    predicted = logits.argmax(axis=1)
    rows, classes = logits.shape
    ranked = range(classes) if classes != 2 else [1]
    return Outputs(
        probabilities=probabilities,
        predicted=predicted,
        is_right=predicted == targets,
        losses=-log_probabilities[np.arange(rows), targets],
        confidence=probabilities.max(axis=1),
        rankings=[_rank(probabilities[:, c], targets == c) for c in ranked],
    )


def _prepare_labels(targets, logits):
    predicted = (logits >= 0).astype(float)
    return Outputs(
        probabilities=special.expit(logits),
        predicted=predicted,
        is_right=(predicted == targets).all(axis=1),
        losses=-special.log_expit(np.where(targets == 1, logits, -logits)).mean(axis=1),
        confidence=None,
        rankings=[_rank(column, target == 1) for column, target in zip(logits.T, targets.T, strict=True)],
    )


def _rank(scores, is_positive):
    positives, negatives = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    negatives = negatives[np.argsort(scores[negatives])]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    up_to = np.searchsorted(scores[negatives], scores[positives], side="right")
    return Ranking(positives, negatives, below, up_to)


def accuracy(targets, outputs, weights):
    """The share of rows that are right; with several labels, right in all of them."""
    return weights @ outputs.is_right / weights.sum()


def per_class(targets, outputs, weights):
    """Precision, recall and F1 of each class, `(3, classes)`.

    One that would be of no rows is 0, as scikit-learn's with `zero_division=0`, but NaN if there are some of weight 0.
    """
    right, actual, predicted = _counts(targets, outputs, weights)
    _, all_actual, all_predicted = outputs.counts
    precision, recall = ratio(right, predicted, all_predicted), ratio(right, actual, all_actual)
    return np.stack([precision, recall, ratio(2 * right, actual + predicted, all_actual + all_predicted)])


def macro_f1(targets, outputs, weights):
    """The mean F1 of the classes that occur as target or prediction; with several labels, of all of them.

    Those that occur in rows of weight 0 alone are left out in either case.
    """
    scores = per_class(targets, outputs, weights)[2]
    _, actual, predicted = outputs.counts
    counted = ~np.isnan(scores) & ((targets.ndim == 2) | (actual + predicted > 0))
    return scores[counted].mean() if counted.any() else np.nan


def micro_f1(targets, outputs, weights):
    """F1 over all cells of rows x labels."""
    right, actual, predicted = _counts(targets, outputs, weights)
    return float(ratio(2 * right.sum(), actual.sum() + predicted.sum()))


def matthews_correlation(targets, outputs, weights):
    """The correlation of targets and predictions (Gorodkin 2004); 0 where either holds one class only."""
    right, actual, predicted = _counts(targets, outputs, weights)
    total = weights.sum()
    covariance = right.sum() * total - actual @ predicted
    return float(ratio(covariance, np.sqrt(actual @ (total - actual)) * np.sqrt(predicted @ (total - predicted))))


def auroc(targets, outputs, weights):
    """The area under the ROC curve: for more than two classes the mean of each against the rest.

    NaN if a class has no positive or no negative row of weight.
    """
    return np.mean([_area(ranking, weights) for ranking in outputs.rankings])


def log_loss(targets, outputs, weights):
    """The mean cross entropy, in nats."""
    return weights @ outputs.losses / weights.sum()


def expected_calibration_error(targets, outputs, weights):
    """The mean gap between confidence and accuracy over 15 bins of confidence.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3.
    """
    gaps = np.bincount(bins_of(outputs.confidence), weights * (outputs.is_right - outputs.confidence))
    return np.abs(gaps).sum() / weights.sum()


def bins_of(probabilities):
    """Returns the number of the bin `(b / 15, (b + 1) / 15]` that holds each probability, 0 in the first."""
    return np.maximum(np.ceil(probabilities * BINS).astype(int) - 1, 0)


def _counts(targets, outputs, weights):
    """Returns the weights of the right, the actual and the predicted rows of each class, each `(classes,)`."""
    if targets.ndim == 2:
        return weights @ (targets * outputs.predicted), weights @ targets, weights @ outputs.predicted
    classes = outputs.probabilities.shape[1]
    right = np.bincount(targets, weights * outputs.is_right, classes)
    return right, np.bincount(targets, weights, classes), np.bincount(outputs.predicted, weights, classes)


def _area(ranking, weights):
    positive = weights[ranking.positives]
    below = np.concatenate([[0], np.cumsum(weights[ranking.negatives])])
    total = positive.sum() * below[-1]
    wins = positive @ (below[ranking.below] + below[ranking.up_to]) / 2
    return wins / total if total else np.nan
