import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from kerasft.errors import UserError
from kerasft.evaluation.classification import evaluate, example_scores

# Rows: right, wrong, right, wrong.
TARGETS = [0, 1, 1, 2]
LOGITS = [[2.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.0]]
LABELS = ["bad", "fair", "good"]


def frame(**columns):
    table = pd.DataFrame(columns, index=range(1, 5))
    table.attrs["origin"] = "reviews.csv"
    return table


def test_single_label_by_hand():
    found = evaluate(TARGETS, LOGITS, LABELS, resamples=50)
    assert found.metrics["accuracy"].value == 0.5
    assert found.metrics["f1/bad"].value == pytest.approx(2 / 3)
    assert found.metrics["f1/fair"].value == 0.5
    assert found.metrics["f1/good"].value == 0.0
    assert found.metrics["macro_f1"].value == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert [row["support"] for row in found.per_class] == [1, 2, 1]
    assert found.per_class[1]["precision"].value == 0.5
    assert found.per_class[1]["recall"].value == 0.5
    assert (found.examples, found.noun, found.labels) == (4, "examples", LABELS)
    for estimate in found.metrics.values():
        assert np.isnan(estimate.low) or estimate.low <= estimate.value <= estimate.high


def test_names_and_order_of_the_measures():
    single = ["accuracy", "macro_f1", "matthews_correlation", "auroc", "log_loss", "expected_calibration_error"]
    multiple = ["subset_accuracy", "macro_f1", "micro_f1", "auroc", "log_loss"]
    each = ["f1/bad", "f1/fair", "f1/good"]
    assert list(evaluate(TARGETS, LOGITS, LABELS, resamples=2).metrics) == single + each
    several = evaluate(np.eye(4, 3), LOGITS, LABELS, multi_label=True, resamples=2)
    assert list(several.metrics) == multiple + each


def test_several_labels_by_hand():
    targets = [[1, 0], [1, 1], [0, 0]]
    logits = [[3.0, -3.0], [1.0, -4.0], [2.0, -1.0]]
    found = evaluate(targets, logits, ["a", "b"], multi_label=True, resamples=20)
    assert found.metrics["subset_accuracy"].value == pytest.approx(1 / 3)
    assert found.metrics["f1/a"].value == pytest.approx(0.8)
    assert found.metrics["f1/b"].value == 0.0
    assert found.metrics["micro_f1"].value == pytest.approx(2 * 2 / 6)
    assert found.confusion.tolist() == metrics.multilabel_confusion_matrix(targets, np.array(logits) >= 0).tolist()
    assert [(m["row"], m["truth"], m["predicted"]) for m in found.mistakes] == [(2, "a, b", "a"), (3, "none", "a")]
    assert found.mistakes[0]["score"] == pytest.approx(1 / (1 + np.exp(-4.0)))


def test_reliability_and_distribution_count_every_example():
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(4, size=300), rng.normal(size=(300, 4))
    found = evaluate(targets, logits, list("abcd"), resamples=2)
    assert len(found.reliability) == 15
    assert sum(row["count"] for row in found.reliability) == 300
    gaps = [abs(r["accuracy"] - r["confidence"]) * r["count"] for r in found.reliability if r["count"]]
    assert sum(gaps) / 300 == pytest.approx(found.metrics["expected_calibration_error"].value)
    right, wrong = found.distribution["right"].sum(), found.distribution["wrong"].sum()
    assert (right, wrong) == (found.confusion.trace(), 300 - found.confusion.trace())


def test_mistakes_are_the_surest_first():
    found = evaluate(TARGETS, LOGITS, LABELS, frame(text=["a", "b", "c", "d"]), resamples=2)
    assert [m["row"] for m in found.mistakes] == [2, 4]
    first = found.mistakes[0]
    assert first["score"] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    assert (first["origin"], first["preview"], first["truth"], first["predicted"]) == (
        "reviews.csv",
        "b",
        "fair",
        "bad",
    )


def test_no_more_than_20_mistakes():
    found = evaluate([0] * 50, [[0.0, 1.0]] * 50, ["a", "b"], resamples=2)
    assert [m["row"] for m in found.mistakes] == list(range(1, 21))


def test_pairs_of_texts_and_images_are_previewed():
    pair = evaluate(TARGETS, LOGITS, LABELS, frame(text=list("abcd"), text_pair=list("wxyz")), resamples=2)
    assert pair.mistakes[0]["preview"] == "b\nx"
    images = [np.full((2, 2), i, "uint8") for i in range(4)]
    image = evaluate(TARGETS, LOGITS, LABELS, frame(image=pd.Series(images, index=range(1, 5))), resamples=2)
    assert image.noun == "images"
    assert image.mistakes[0]["preview"] is images[1]


def test_one_row():
    found = evaluate([0], [[1.0, 0.0]], ["a", "b"], resamples=5)
    assert found.metrics["accuracy"] == (1.0, 1.0, 1.0)
    assert np.isnan(found.metrics["auroc"]).all()
    assert found.mistakes == []


def test_an_absent_class_has_no_area_but_all_else():
    found = evaluate([0, 1, 0], [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 0.0]], LABELS, resamples=5)
    assert np.isnan(found.metrics["auroc"].value)
    assert found.metrics["macro_f1"].value == 1.0
    assert found.per_class[2]["support"] == 0


def test_the_seed_decides():
    rng = np.random.default_rng(0)
    data = rng.integers(2, size=50), rng.normal(size=(50, 2)), ["a", "b"]
    assert evaluate(*data, resamples=30).metrics == evaluate(*data, resamples=30, seed=0).metrics
    assert evaluate(*data, resamples=30).metrics != evaluate(*data, resamples=30, seed=1).metrics


def test_a_logit_that_is_not_finite_names_the_first_row():
    logits = np.array(LOGITS)
    logits[2, 1] = np.nan
    logits[3, 0] = np.inf
    with pytest.raises(UserError, match=r"^reviews.csv, row 3: logits must be finite \(2 rows are not\). Received: \["):
        evaluate(TARGETS, logits, LABELS, frame(text=list("abcd")))
    with pytest.raises(UserError, match="^data, row 3: logits"):
        evaluate(TARGETS, logits, LABELS)


@pytest.mark.parametrize("target", [3, -1, 0.5, np.nan])
def test_a_target_that_is_no_class_names_the_row(target):
    with pytest.raises(UserError, match="data, row 2: targets must be whole numbers from 0 to 2"):
        evaluate([0, target, 1, 2], LOGITS, LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b"]}, r"For 2 labels, logits must be \(rows, 2\)"),
        ({"labels": ["a", "b", "a"]}, "labels must be different"),
        ({"targets": [0, 1]}, r"targets of shape \(2,\)"),
        ({"multi_label": True}, r"targets \(rows, labels\)"),
        ({"targets": [], "logits": np.zeros((0, 3))}, "one row at least"),
        ({"frame": pd.DataFrame({"text": ["a"]})}, "1 rows, 4 targets"),
    ],
)
def test_shapes_that_disagree_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        evaluate(**{"targets": TARGETS, "logits": LOGITS, "labels": LABELS, **change})


def test_needs_no_tensorflow():
    program = (
        "import sys, kerasft.evaluation.report, kerasft.evaluation.classification; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_scores_of_single_examples_have_the_metric_as_their_mean():
    random = np.random.default_rng(0)
    targets, logits = random.integers(3, size=50), random.normal(size=(50, 3))
    name, scores = example_scores(targets, logits, ["a", "b", "c"])
    assert (name, scores.tolist()) == ("accuracy", (logits.argmax(1) == targets).tolist())
    cells = random.integers(2, size=(50, 3))
    name, scores = example_scores(cells, logits, ["a", "b", "c"], multi_label=True)
    assert (name, scores.tolist()) == ("subset_accuracy", ((logits > 0) == cells).all(1).tolist())
    with pytest.raises(UserError, match="logits must be finite"):
        example_scores([0, 1], [[0.0, np.nan], [0.0, 1.0]], ["a", "b"])
