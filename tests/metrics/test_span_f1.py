import numpy as np
import pytest

from kerasft.metrics.span_f1 import SpanF1
from kerasft.pipeline.tags import Scheme

LABELS = ["O", "B-A", "I-A", "B-B", "I-B", "E-A", "S-B"]


def logits(tags):
    return np.eye(len(LABELS), dtype="float32")[tags]


def test_it_counts_as_the_scheme_does_whatever_lies_between_the_words():
    rng, scheme = np.random.default_rng(0), Scheme(LABELS)
    metric, right, both = SpanF1(LABELS), 0, 0
    for _ in range(5):
        truth, predicted = rng.integers(len(LABELS), size=(2, 8, 12))
        weights = (rng.random((8, 12)) < 0.7).astype("float32")
        metric.update_state(truth, logits(predicted), weights)
        splits = np.cumsum([0, *(weights > 0).sum(1)])
        found = [{*zip(*scheme.spans(tags[weights > 0], splits), strict=True)} for tags in (truth, predicted)]
        right, both = right + len(found[0] & found[1]), both + sum(map(len, found))
    assert float(metric.result()) == pytest.approx(2 * right / both)


@pytest.mark.parametrize(("truth", "predicted", "expected"), [([[0, 0]], [[0, 0]], 0.0), ([[1, 2]], [[2, 2]], 1.0)])
def test_without_spans_and_without_weights(truth, predicted, expected):
    metric = SpanF1(LABELS)
    metric.update_state(truth, logits(np.array(predicted)))
    assert float(metric.result()) == expected
    metric.reset_state()
    assert float(metric.result()) == 0


def test_no_words_at_all():
    metric = SpanF1(LABELS)
    metric.update_state(np.zeros((2, 3), int), logits(np.zeros((2, 3), int)), np.zeros((2, 3)))
    assert float(metric.result()) == 0


def test_it_is_made_again_from_its_config():
    assert SpanF1.from_config(SpanF1(LABELS).get_config()).labels == LABELS
