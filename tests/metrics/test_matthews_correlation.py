import pytest
from sklearn.metrics import matthews_corrcoef

from kerasft.metrics import MatthewsCorrelation

# Together 1,000; the quick part holds every kind of case.
SEEDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_equals_sklearn(case, seeds):
    for seed in seeds:
        random = case(seed)
        targets, logits, weights = random.counted()
        expected = matthews_corrcoef(targets, logits.argmax(axis=1), sample_weight=weights) if len(targets) else 0.0
        assert random.stream(MatthewsCorrelation(random.classes)) == pytest.approx(expected, abs=1e-6), seed


def test_one_class_only_is_zero():
    metric = MatthewsCorrelation(num_classes=2)
    metric.update_state([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    assert float(metric.result()) == 0.0


def test_does_not_cancel_on_rare_classes():
    metric = MatthewsCorrelation(num_classes=2)
    big = 3.0e7
    metric.update_state([0, 0, 1, 1], [[1, 0], [0, 1], [1, 0], [0, 1]], sample_weight=[big, 1.0, 1.0, 1.0])
    tn, fp, fn, tp = big, 1.0, 1.0, 1.0
    expected = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
