"""How good predicted numbers are: measures with intervals, and where a report shows them to be wrong."""

import dataclasses

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _errors, _mistakes, bootstrap, figures


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of examples.

    Attributes:
        examples: int. Number of rows.
        noun: str. What a row is, such as `"texts"`.
        metrics: dict of name to `Estimate`: `pearson`, `spearman`, `r2`, `mean_absolute_error`,
            `root_mean_squared_error`. NaN where not defined, such as a correlation where all rows are the same.
        truth, predicted: `(rows,)` float, in the data's unit.
        mistakes: list of up to 20 dicts, the largest errors first: `row`, `origin`, `preview`, `truth`, `predicted`.
    """

    examples: int
    noun: str
    metrics: dict
    truth: np.ndarray
    predicted: np.ndarray
    mistakes: list

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {"examples": self.examples}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result = self.metrics["pearson"]
        noun = self.noun if self.examples > 1 else self.noun.removesuffix("s")
        span = f"95\N{NO-BREAK SPACE}% interval {result.low:.3f} to {result.high:.3f}"
        error = float(np.abs(self.truth - np.median(self.truth)).mean())
        aside = f"Always answering {np.median(self.truth):.4g} would be {error:.4g} off on average."
        words = f"correlation of answers and truth over {self.examples:,} {noun}"
        return _mistakes.Headline(f"{result.value:.3f}", "", words, span, aside)

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        return [_errors.scatter(self), _errors.listed(self)]


@dataclasses.dataclass
class Outputs:
    """Predictions, and what measures need of the order of both sides, computed once for all resamples.

    Attributes:
        predicted: `(rows,)` float64.
        places, predicted_places: `(rows,)` int. The place of each true and predicted value among the distinct ones.
    """

    predicted: np.ndarray
    places: np.ndarray
    predicted_places: np.ndarray


def evaluate(targets, outputs, mean=0.0, deviation=1.0, frame=None, **resampling):
    """Measures predicted numbers against the truth.

    Args:
        targets, outputs: `(rows, 1)` float of what was learned: `(value - mean) / deviation`.
        mean, deviation: float. Of the values.
        frame: pandas.DataFrame of the raw examples in the same order, for the largest errors, or None.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`.

    Returns: `Evaluation`.
    Raises: UserError if shapes disagree or a number is not finite; it names the first row.
    Example: >>> print(evaluate([[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.5]]).metrics["spearman"].value)
        1.0
    """
    truth, predicted = _in_unit(targets, outputs, mean, deviation, frame)
    places = [np.unique(values, return_inverse=True)[1] for values in (truth, predicted)]
    estimates = bootstrap.intervals(MEASURES, truth, Outputs(predicted, *places), **resampling)
    return Evaluation(
        examples=len(truth),
        noun=_mistakes.noun(frame),
        metrics=estimates,
        truth=truth,
        predicted=predicted,
        mistakes=largest(truth, predicted, frame),
    )


def picture(targets, outputs, mean=0.0, deviation=1.0):
    """Returns predictions against the truth as a `figures.Picture`; arguments as of `evaluate`."""
    return figures.Picture("scatter", figures.scatter_figure(*_in_unit(targets, outputs, mean, deviation, None)))


def example_scores(targets, outputs, mean=0.0, deviation=1.0):
    """Returns the name of the metric by which runs are compared, and `(rows,)` scores of which it is the mean.

    Args:
        targets, outputs, mean, deviation: as of `evaluate`.
    """
    truth, predicted = _in_unit(targets, outputs, mean, deviation, None)
    return "negative_mean_absolute_error", -np.abs(predicted - truth)


def pearson(truth, outputs, weights):
    """The correlation of truth and predictions; NaN where either is the same in all rows."""
    return _correlation(truth, outputs.predicted, weights)


def spearman(truth, outputs, weights):
    """The correlation of the ranks; equal values share the mean of theirs."""
    return _correlation(_ranks(outputs.places, weights), _ranks(outputs.predicted_places, weights), weights)


def r2(truth, outputs, weights):
    """The share of the variance that is explained: 1 perfect, 0 no better than the mean."""
    if _are_alike(truth, weights):
        return np.nan
    spread = weights @ (truth - weights @ truth / weights.sum()) ** 2
    return 1 - weights @ (truth - outputs.predicted) ** 2 / spread


def mean_absolute_error(truth, outputs, weights):
    """The mean distance of prediction and truth."""
    return weights @ np.abs(truth - outputs.predicted) / weights.sum()


def root_mean_squared_error(truth, outputs, weights):
    """The root of the mean squared distance."""
    return np.sqrt(weights @ (truth - outputs.predicted) ** 2 / weights.sum())


MEASURES = {
    function.__name__: function for function in (pearson, spearman, r2, mean_absolute_error, root_mean_squared_error)
}


def _are_alike(values, weights):
    """Returns whether all rows that count have the same value; their spread may still be rounded to more than 0."""
    return np.ptp(values[weights > 0]) == 0


def _correlation(first, second, weights):
    if _are_alike(first, weights) or _are_alike(second, weights):
        return np.nan
    first, second = (values - weights @ values / weights.sum() for values in (first, second))
    return weights @ (first * second) / np.sqrt((weights @ first**2) * (weights @ second**2))


def _ranks(places, weights):
    """Returns the rank of each row, from 1, in a table that holds it `weights` times."""
    counts = np.bincount(places, weights)
    return (np.cumsum(counts) - counts + (counts + 1) / 2)[places]


def _in_unit(targets, outputs, mean, deviation, frame):
    """Returns truth and predictions, each `(rows,)` float64, in the data's unit."""
    targets, outputs = np.asarray(targets, "float64"), np.asarray(outputs, "float64")
    if targets.shape != outputs.shape or targets.ndim != 2 or targets.shape[1] != 1 or not len(targets):
        raise UserError(
            "targets and outputs must be (rows, 1), with one row at least. "
            f"Received: targets of shape {targets.shape}, outputs of shape {outputs.shape}"
        )
    for what, values in (("targets", targets), ("outputs", outputs)):
        bad = np.flatnonzero(~np.isfinite(values[:, 0]))
        if len(bad):
            where = f"{_mistakes.origin(frame)}, row {_mistakes.row_number(frame, bad[0])}"
            raise UserError(
                f"{where}: {what} must be finite ({len(bad):,} rows are not). Received: {values[bad[0], 0]}"
            )
    return targets[:, 0] * deviation + mean, outputs[:, 0] * deviation + mean


def largest(truth, predicted, frame):
    """Returns up to 20 dicts, the largest errors first, see `Evaluation.mistakes`."""
    rows = np.argsort(-np.abs(predicted - truth), kind="stable")[: _mistakes.SHOWN]
    return [
        {
            "row": _mistakes.row_number(frame, row),
            "origin": _mistakes.origin(frame),
            "preview": _mistakes.preview(frame, row),
            "truth": float(truth[row]),
            "predicted": float(predicted[row]),
        }
        for row in rows.tolist()
    ]
