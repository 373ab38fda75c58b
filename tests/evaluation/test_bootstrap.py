import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.evaluation.bootstrap import Estimate, intervals


def mean(targets, outputs, weights):
    return weights @ outputs / weights.sum()


def test_prints_value_and_interval():
    assert str(Estimate(0.913, 0.8998, 0.9259)) == "0.9130 [0.8998, 0.9259]"


def test_weights_are_the_draws_of_a_plain_bootstrap():
    outputs = np.random.default_rng(1).normal(size=40)
    found = intervals({"mean": mean}, outputs, outputs, resamples=200, seed=3, level=0.9)["mean"]
    rng = np.random.default_rng(3)
    drawn = [outputs[rng.integers(40, size=40)].mean() for _ in range(200)]
    np.testing.assert_allclose(found, [outputs.mean(), *np.percentile(drawn, [5, 95])], atol=1e-12)


def test_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        is_right = (rng.random(300) < 0.8).astype(float)
        found = intervals({"mean": mean}, is_right, is_right, resamples=200, seed=seed)["mean"]
        hits += found.low <= 0.8 <= found.high
    assert 180 <= hits <= 200  # 190 expected


def test_all_measures_see_the_same_resamples():
    outputs = np.arange(10.0)
    found = intervals({"once": mean, "again": mean}, outputs, outputs, resamples=50)
    assert found["once"] == found["again"]


def test_nan_resamples_are_left_out():
    def mean_of_first(targets, outputs, weights):
        return outputs[0] if weights[0] else np.nan

    found = intervals({"first": mean_of_first}, np.zeros(5), np.full(5, 7.0), resamples=100)["first"]
    assert found == Estimate(7.0, 7.0, 7.0)


def test_never_defined_is_nan_without_a_warning():
    found = intervals({"never": lambda *_: np.nan}, np.zeros(5), None, resamples=10)["never"]
    assert np.isnan(found).all()


def test_an_array_gets_an_interval_for_each_element():
    def both(targets, outputs, weights):
        return np.array([mean(targets, outputs, weights), 1.0])

    outputs = np.arange(10.0)
    found = intervals({"both": both, "mean": mean}, outputs, outputs, resamples=50)
    assert [part[0] for part in found["both"]] == list(found["mean"])
    assert [part[1] for part in found["both"]] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"level": 0.0}])
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(UserError, match="Received: rows=1"):
        intervals({"mean": mean}, np.zeros(1), np.zeros(1), **wrong)


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="Received: rows=0"):
        intervals({"mean": mean}, np.zeros(0), np.zeros(0))
