import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kerasft.errors import UserError
from kerasft.evaluation import report, similarity


def test_pairs_with_values(tmp_path):
    rng = np.random.default_rng(0)
    outputs, values = rng.normal(size=(30, 2, 6)), rng.random((30, 1))
    found = similarity.evaluate(values, outputs, sizes=[3], resamples=20)
    for name, cut in (("spearman", 6), ("spearman/3", 3)):
        unit = outputs[..., :cut] / np.linalg.norm(outputs[..., :cut], axis=2, keepdims=True)
        expected = stats.spearmanr((unit[:, 0] * unit[:, 1]).sum(1), values[:, 0]).statistic
        assert found.metrics[name].value == pytest.approx(expected)
    report.write(found, tmp_path, "run", {})
    assert similarity.picture(values, outputs).name == "scatter"
    name, scores = similarity.example_scores(values, outputs)
    assert name == "negative_absolute_error" and scores.shape == (30,)


def angles(*degrees):
    return [[np.cos(np.radians(angle)), np.sin(np.radians(angle))] for angle in degrees]


def test_partners_are_looked_for_among_all():
    outputs = np.array([angles(0, 10), angles(90, 80), angles(45, 85)])  # The third text is nearest to the first's.
    found = similarity.evaluate(np.array([[0], [1], [2]]), outputs, resamples=20).metrics
    assert found["mrr"].value == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["recall@1"].value == pytest.approx(1 / 3) and found["recall@5"].value == 1
    assert found["ndcg"].value == pytest.approx((1 + 1 / np.log2(3) + 1 / 2) / 3)


def test_equal_texts_share_their_right_partners_and_equal_partners_are_one():
    frame = pd.DataFrame({"text": ["a", "a", "b"], "text_pair": ["x", "y", "x"]}, index=[1, 2, 3])
    outputs = np.array([angles(0, 10), angles(0, 20), angles(0, 10)])
    found = similarity.evaluate(np.array([[0], [1], [0]]), outputs, frame=frame, resamples=20).metrics
    assert found["mrr"].value == 1 and found["recall@1"].value == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found["ndcg"].value == 1 and found["recall@5"].value == 1


def test_further_texts_are_wrong_ones():
    outputs = np.array([angles(0, 10, 5), angles(90, 80, 0)])
    partners = np.array([[0, 2], [1, 3]])
    found = similarity.evaluate(partners, outputs, resamples=20)
    assert found.metrics["mrr"].value == pytest.approx((1 / 3 + 1) / 2)
    assert "mean reciprocal rank" in report.html(found, "run", {})
    assert similarity.picture(partners, outputs) is None
    assert similarity.example_scores(partners, outputs)[0] == "mrr"


def test_equal_wrong_ones_are_one_and_a_right_one_is_never_wrong():
    outputs = np.array([angles(0, 10, 5), angles(90, 80, 5), angles(180, 170, 80)])
    found = similarity.evaluate(np.array([[0, 3], [1, 3], [2, 1]]), outputs, resamples=20).metrics
    assert found["mrr"].value == pytest.approx((1 / 2 + 1 + 1) / 3)  # Before the first text's partner there is one.


@pytest.mark.parametrize(
    ("targets", "outputs", "part"),
    [
        (np.zeros((2, 1)), np.zeros((3, 2, 4)), r"targets of shape \(2, 1\), outputs of shape \(3, 2, 4\)"),
        (np.zeros((2, 1)), np.zeros((2, 1, 4)), "2 or more"),
        (np.zeros((1, 1)), np.full((1, 2, 4), np.nan), "data, row 1: the vectors must be finite"),
    ],
)
def test_unusable_outputs_are_refused(targets, outputs, part):
    with pytest.raises(UserError, match=part):
        similarity.evaluate(targets, outputs)
