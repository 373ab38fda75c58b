import numpy as np
import pytest
from sklearn.metrics import f1_score

from kerasft.errors import UserError
from kerasft.metrics import F1Score

# Together 1,000; the quick part holds every kind of case.
SEEDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_equals_sklearn(case, seeds):
    for seed in seeds:
        random = case(seed, multi_label=seed % 5 == 0)
        targets, logits, weights = random.counted()
        multi_label = targets.ndim == 2
        predicted = (logits >= 0).astype(int) if multi_label else logits.argmax(axis=1)
        metric = F1Score(random.classes, multi_label=multi_label)
        expected = 0.0
        if len(targets):
            expected = f1_score(targets, predicted, average="macro", zero_division=0, sample_weight=weights)
        assert random.stream(metric) == pytest.approx(expected, abs=1e-6), seed


@pytest.mark.parametrize("seed", range(20))
def test_each_class_equals_sklearn(case, seed):
    random = case(seed)
    targets, logits, weights = random.counted()
    metric = F1Score(random.classes, average=None)
    scores = random.stream(metric)
    labels = range(random.classes)
    expected = f1_score(
        targets, logits.argmax(axis=1), average=None, labels=labels, zero_division=0, sample_weight=weights
    )
    assert scores.shape == (random.classes,)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_absent_class_is_left_out_of_the_mean():
    metric = F1Score(num_classes=3)
    metric.update_state([0, 1], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert float(metric.result()) == 1.0


def test_multi_label_counts_an_absent_label_as_zero():
    metric = F1Score(num_classes=2, multi_label=True)
    metric.update_state([[1, 0]], [[1.0, -1.0]])
    assert float(metric.result()) == 0.5


def test_empty_and_reset_are_zero():
    metric = F1Score(num_classes=2)
    assert float(metric.result()) == 0.0
    metric.update_state([1], [[0.0, 1.0]])
    assert float(metric.result()) == 1.0
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_counts_stay_exact_beyond_float32():
    metric = F1Score(num_classes=2)
    metric.update_state([0], [[1.0, 0.0]], sample_weight=[2.0**24])
    metric.update_state([0], [[1.0, 0.0]])
    assert float(metric.right[0]) == 2**24 + 1


def test_unknown_average_is_refused():
    with pytest.raises(UserError, match="'macro' or None. Received: average='micro'"):
        F1Score(num_classes=2, average="micro")
