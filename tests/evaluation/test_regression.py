import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from kerasft.errors import UserError
from kerasft.evaluation import regression, report


def column(values):
    return np.asarray(values, "float64")[:, None]


@pytest.mark.parametrize("seed", range(40))
def test_weights_equal_scipy_and_sklearn_on_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(3, 60))
    truth = rng.normal(size=rows).round(1 if seed % 2 else 6)  # With ties, and without.
    predicted = (truth + rng.normal(size=rows)).round(1 if seed % 3 else 6)
    weights = np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(float)
    places = [np.unique(values, return_inverse=True)[1] for values in (truth, predicted)]
    outputs = regression.Outputs(predicted, *places)
    found = {name: measure(truth, outputs, weights) for name, measure in regression.MEASURES.items()}
    first, second = (np.repeat(values, weights.astype(int)) for values in (truth, predicted))
    assert found == {
        "pearson": pytest.approx(stats.pearsonr(first, second).statistic, nan_ok=True),
        "spearman": pytest.approx(stats.spearmanr(first, second).statistic, nan_ok=True),
        "r2": pytest.approx(metrics.r2_score(first, second)),
        "mean_absolute_error": pytest.approx(metrics.mean_absolute_error(first, second)),
        "root_mean_squared_error": pytest.approx(metrics.root_mean_squared_error(first, second)),
    }


def test_numbers_are_in_the_unit_of_the_data():
    found = regression.evaluate(column([-1, 0, 1]), column([-1, 0.5, 1]), mean=10, deviation=4, resamples=20)
    assert found.truth.tolist() == [6, 10, 14] and found.predicted.tolist() == [6, 12, 14]
    assert found.metrics["mean_absolute_error"].value == pytest.approx(2 / 3)
    assert found.mistakes[0]["row"] == 2 and found.mistakes[0]["predicted"] == 12


def test_a_correlation_that_is_not_defined_is_nan(tmp_path):
    found = regression.evaluate(column([1, 2, 3]), column([2, 2, 2]), resamples=20)
    assert np.isnan(found.metrics["pearson"].value) and np.isnan(found.metrics["spearman"].value)
    report.write(found, tmp_path, "run", {})
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_nothing_is_made_of_rounding():
    truth = column([0.1, 0.1, 0.1])  # Their mean is 0.10000000000000002.
    found = regression.evaluate(truth, column([0.1, 0.2, 0.3]), resamples=20).metrics
    assert np.isnan([found[name].value for name in ("r2", "pearson", "spearman")]).all()
    found = regression.evaluate(column([0.1, 0.2, 0.7]), column([0.1, 0.3, 0.6]), resamples=200).metrics
    assert found["r2"].low > -1000


def test_a_report_of_one_and_of_many_rows(tmp_path):
    rng = np.random.default_rng(0)
    for rows in (1, 2000):
        truth = rng.normal(size=rows)
        frame = pd.DataFrame({"text": [f"<b>{i}" for i in range(rows)]}, index=range(1, rows + 1))
        found = regression.evaluate(column(truth), column(truth + 0.1), frame=frame, resamples=20)
        page = report.html(found, "run", {})
        assert "&lt;b&gt;" in page and "<b>0" not in page and page.count("dot faint") <= 1000


@pytest.mark.parametrize(
    ("targets", "outputs", "part"),
    [
        (np.zeros((3, 1)), np.zeros((2, 1)), r"targets of shape \(3, 1\), outputs of shape \(2, 1\)"),
        (np.zeros(3), np.zeros(3), r"must be \(rows, 1\)"),
        (np.zeros((0, 1)), np.zeros((0, 1)), "one row at least"),
        (column([0, 1]), column([0, np.nan]), "data, row 2: outputs must be finite"),
        (column([np.inf, 1]), column([0, 1]), "data, row 1: targets must be finite"),
    ],
)
def test_unusable_numbers_are_refused(targets, outputs, part):
    with pytest.raises(UserError, match=part):
        regression.evaluate(targets, outputs)


def test_the_scores_of_examples_and_the_picture():
    name, scores = regression.example_scores(column([0, 1]), column([1, 1]), mean=5, deviation=2)
    assert name == "negative_mean_absolute_error" and scores.tolist() == [-2, 0]
    assert regression.picture(column([0, 1]), column([1, 1])).name == "scatter"
