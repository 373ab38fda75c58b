import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_auc_score

from kerasft.errors import UserError
from kerasft.metrics import AUROC

# Together 1,000; the quick part holds every kind of case.
SEEDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.slow)]


def expected_area(targets, logits, weights):
    """The macro mean of scikit-learn's area of each column, from scores rounded to float32 as the metric keeps them."""
    classes = logits.shape[1]
    if targets.ndim == 2:
        scores, labels = logits, targets
    elif classes == 2:
        scores, labels = logits[:, 1:] - logits[:, :1], targets[:, None]
    else:
        scores, labels = log_softmax(logits, axis=1), np.eye(classes, dtype=int)[targets]
    if any(len(np.unique(column)) < 2 for column in labels.T):
        return np.nan
    scores = scores.astype("float32")
    return np.mean([roc_auc_score(y, s, sample_weight=weights) for y, s in zip(labels.T, scores.T, strict=True)])


@pytest.mark.parametrize("seeds", SEEDS)
def test_equals_sklearn(case, seeds):
    for seed in seeds:
        random = case(seed, multi_label=seed % 5 == 0)
        expected = expected_area(*random.counted())
        metric = AUROC(random.classes, max_examples=60, multi_label=random.targets.ndim == 2)
        assert random.stream(metric) == pytest.approx(expected, abs=1e-6, nan_ok=True), seed


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_equals_one_call_of_sklearn(classes):
    rng = np.random.default_rng(classes)
    targets, logits = rng.integers(classes, size=500), rng.normal(size=(500, classes)).astype("float32")
    scores = softmax(logits.astype("float64"), axis=1)
    expected = roc_auc_score(targets, scores[:, 1] if classes == 2 else scores, multi_class="ovr", average="macro")
    metric = AUROC(classes)
    metric.update_state(targets, logits)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_a_tie_counts_half():
    metric = AUROC(num_classes=2)
    metric.update_state([0, 1, 0], [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    assert float(metric.result()) == 0.75


def test_sure_scores_are_no_ties():
    metric = AUROC(num_classes=3)  # float32 probabilities of class 0 would all be 1
    metric.update_state([1, 0, 2], [[40.0, 9.0, 0.0], [50.0, 1.0, 0.0], [40.0, 0.0, 8.0]])
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("rows", [900, 1100])
def test_in_a_graph_and_under_xla(jit_compile, rows):
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(3, size=rows), rng.normal(size=(rows, 3)).astype("float32").round(1)
    metric = AUROC(num_classes=3, max_examples=2000)

    @tf.function(jit_compile=jit_compile)
    def step(y_true, y_pred):
        metric.update_state(y_true, y_pred)
        return metric.result()

    halves = [step(targets[half], logits[half]) for half in np.split(np.arange(rows), 2)]
    assert float(halves[-1]) == pytest.approx(expected_area(targets, logits.astype("float64"), None), abs=1e-6)


def test_more_than_max_examples_is_an_error():
    metric = AUROC(num_classes=2, max_examples=3)
    metric.update_state([0, 1, 1], np.zeros((3, 2)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_examples=3"):
        metric.update_state([0], np.zeros((1, 2)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_examples=3"):
        tf.function(metric.update_state)(tf.constant([0]), tf.zeros((1, 2)))


def test_more_than_max_examples_under_xla_is_nan():
    metric = AUROC(num_classes=2, max_examples=3)
    tf.function(metric.update_state, jit_compile=True)(tf.constant([0, 1, 1, 0]), tf.zeros((4, 2)))
    assert np.isnan(metric.result())


def test_nan_without_examples_and_after_reset():
    metric = AUROC(num_classes=2)
    assert np.isnan(metric.result())
    metric.update_state([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    metric.reset_state()
    assert np.isnan(metric.result())


def test_one_class_is_refused():
    with pytest.raises(UserError, match="Received: num_classes=1"):
        AUROC(num_classes=1)
