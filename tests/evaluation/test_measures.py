import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from kerasft.evaluation import bootstrap, measures


def random_case(seed, multi_label=False):
    """Targets, logits and integer weights, as a bootstrap draws them; some rows are not drawn at all."""
    rng = np.random.default_rng(seed)
    rows, classes = int(rng.integers(2, 80)), int(rng.integers(2, 6))
    logits = rng.normal(scale=2, size=(rows, classes))
    if seed % 3 == 0:
        logits = logits[rng.integers(0, max(1, rows // 3), size=rows)]
    targets = (rng.random((rows, classes)) < 0.3).astype(float) if multi_label else rng.integers(classes, size=rows)
    return targets, logits, np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(float)


def drawn(weights, *arrays):
    """The rows repeated as often as they were drawn: what the weights stand for."""
    return [np.repeat(array, weights.astype(int), axis=0) for array in arrays]


def area(targets, scores):
    if any(len(np.unique(column)) < 2 for column in targets.T):
        return np.nan
    columns = zip(targets.T, scores.T, strict=True)
    return np.mean([metrics.roc_auc_score(target, score) for target, score in columns])


def by_class(truth, answers, weights, **options):
    """scikit-learn's scores of the drawn rows: NaN where nothing is divided by nothing, but 0 if so of all rows."""
    of_all, of_drawn = (
        np.array(
            metrics.precision_recall_fscore_support(*rows, average=None, zero_division=np.nan, **options)[:3], float
        )
        for rows in ((truth, answers), drawn(weights, truth, answers))
    )
    return np.where(np.isnan(of_all), 0, of_drawn)


@pytest.mark.parametrize("seed", range(150))
def test_weights_equal_sklearn_on_repeated_rows(seed):
    targets, logits, weights = random_case(seed)
    outputs = measures.prepare(targets, logits)
    classes = logits.shape[1]
    truth, answers, chances = drawn(weights, targets, logits.argmax(axis=1), special.softmax(logits, axis=1))
    expected = {
        "accuracy": metrics.accuracy_score(truth, answers),
        "macro_f1": metrics.f1_score(truth, answers, average="macro", zero_division=0),
        "matthews_correlation": metrics.matthews_corrcoef(truth, answers),
        "log_loss": metrics.log_loss(truth, chances, labels=range(classes)),
        "per_class": by_class(targets, logits.argmax(axis=1), weights, labels=range(classes)),
        "auroc": area(np.eye(classes)[truth][:, -1:], chances[:, -1:])
        if classes == 2
        else area(np.eye(classes)[truth], chances),
    }
    for name, value in expected.items():
        found = getattr(measures, name)(targets, outputs, weights)
        np.testing.assert_allclose(found, value, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(100))
def test_several_labels_equal_sklearn(seed):
    targets, logits, weights = random_case(seed, multi_label=True)
    outputs = measures.prepare(targets, logits)
    truth, answers, chances = drawn(weights, targets, (logits >= 0) * 1.0, special.expit(logits))
    scores = by_class(targets, (logits >= 0) * 1.0, weights)
    losses = [metrics.log_loss(t, c, labels=[0, 1]) for t, c in zip(truth.T, chances.T, strict=True)]
    expected = {
        "accuracy": metrics.accuracy_score(truth, answers),
        "macro_f1": np.nan if np.isnan(scores[2]).all() else np.nanmean(scores[2]),
        "micro_f1": metrics.f1_score(truth, answers, average="micro", zero_division=0),
        "per_class": scores,
        "auroc": area(truth, chances),
        "log_loss": np.mean(losses),
    }
    for name, value in expected.items():
        found = getattr(measures, name)(targets, outputs, weights)
        np.testing.assert_allclose(found, value, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(20))
def test_calibration_error_equals_its_definition(seed):
    targets, logits, weights = random_case(seed)
    truth, chances = drawn(weights, targets, special.softmax(logits, axis=1))
    confidence, is_right = chances.max(axis=1), chances.argmax(axis=1) == truth
    expected = 0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(is_right[inside].mean() - confidence[inside].mean())
    found = measures.expected_calibration_error(targets, measures.prepare(targets, logits), weights)
    assert found == pytest.approx(expected, abs=1e-9)


def test_bins_hold_their_upper_edge():
    assert measures.bins_of(np.array([0.0, 0.01, 1 / 15, 0.07, 14 / 15, 0.94, 1.0])).tolist() == [
        0,
        0,
        0,
        1,
        13,
        14,
        14,
    ]


def test_a_sure_mistake_costs_its_logit():
    outputs = measures.prepare(np.array([1]), np.array([[800.0, 0.0]]))
    assert measures.log_loss(np.array([1]), outputs, np.ones(1)) == 800.0


@pytest.mark.parametrize("several", [False, True])
def test_a_rare_class_that_is_always_found_has_no_width(several):
    classes = np.array([0] * 10 + [1] * 9 + [2])
    targets = np.eye(3)[classes] if several else classes
    outputs = measures.prepare(targets, 8 * np.eye(3)[classes] - 4)
    found = bootstrap.intervals({n: getattr(measures, n) for n in ("per_class", "macro_f1")}, targets, outputs)
    assert found["macro_f1"] == (1, 1, 1)
    np.testing.assert_array_equal(np.stack(found["per_class"]), np.ones((3, 3, 3)))


def test_a_class_that_no_row_has_counts_as_0():
    targets = np.array([[1.0, 0.0], [0.0, 0.0]])
    outputs = measures.prepare(targets, 8 * targets - 4)
    assert measures.macro_f1(targets, outputs, np.ones(2)) == 0.5
    assert measures.macro_f1(targets, outputs, np.array([0.0, 2.0])) == 0
