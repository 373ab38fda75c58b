import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import log_loss

from kerasft.metrics import LogLoss

# Together 1,000; the quick part holds every kind of case.
SEEDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_equals_sklearn(case, seeds):
    for seed in seeds:
        random = case(seed)
        targets, logits, weights = random.counted()
        expected = 0.0
        if len(targets):
            labels = range(random.classes)
            expected = log_loss(targets, softmax(logits, axis=1), labels=labels, sample_weight=weights)
        assert random.stream(LogLoss()) == pytest.approx(expected, abs=1e-6), seed


@pytest.mark.parametrize("seed", range(50))
def test_multi_label_is_the_mean_over_all_cells(case, seed):
    random = case(seed, multi_label=True)
    targets, logits, weights = random.counted()
    chances = expit(logits)
    columns = [
        log_loss(targets[:, c], chances[:, c], labels=[0, 1], sample_weight=weights) for c in range(random.classes)
    ]
    assert random.stream(LogLoss(multi_label=True)) == pytest.approx(np.mean(columns), abs=1e-6)


def test_a_sure_mistake_is_not_clipped():
    metric = LogLoss()
    metric.update_state([1], [[1000.0, 0.0]])
    assert float(metric.result()) == 1000.0


def test_half_precision_logits_are_summed_in_double():
    logits = tf.cast([[1.0, 0.25], [0.5, 2.0]], "bfloat16")
    metric = LogLoss()
    for _ in range(100):
        metric.update_state([0, 0], logits)
    expected = -log_softmax([[1.0, 0.25], [0.5, 2.0]], axis=1)[:, 0].mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-12)
