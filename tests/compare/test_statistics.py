import numpy as np
import pytest
from scipy import stats

from kerasft.compare import statistics


def runs(random, seeds, examples, seed_spread=0.0, example_spread=0.0, edge=0.0):
    """Two variants' `(seeds, examples)` of right and wrong answers; examples are hard or easy for both."""
    difficulty = random.normal(1.6, 1.0, examples)
    made = []
    for shift in (edge, 0.0):
        own = random.normal(0, example_spread, examples) + random.normal(0, seed_spread, (seeds, 1))
        made.append((difficulty + shift + own + random.normal(0, 0.4, (seeds, examples)) > 0).astype(float))
    return made


def test_one_seed_is_the_paired_t_test():
    scores, baseline = runs(np.random.default_rng(0), 1, 300, edge=0.3)
    expected = stats.ttest_rel(scores[0], baseline[0])
    found = statistics.difference(scores, baseline)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_where_all_examples_are_alike_it_is_the_t_test_over_seeds():
    """Nothing to learn from examples: each seed's difference is the same on all, up to a rest without a pattern."""
    of_seeds = np.array([0.02, 0.05, 0.01, 0.04])
    rest = np.array([[1, -1, 1, -1], [1, -1, -1, 1], [-1, 1, 1, -1], [-1, 1, -1, 1]]) * 0.001
    expected = stats.ttest_1samp(of_seeds, 0)
    found = statistics.difference(of_seeds[:, None] + rest, np.zeros((4, 4)))
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_by_hand():
    """Rows 1 0 0 and 1 1 0: mean squares 1/6 of seeds, 1/2 of examples, 1/6 of the rest."""
    total = 1 / 6 + 1 / 2 - 1 / 6
    freedom = (2 - 1) * (total / (1 / 6)) ** 2
    found = statistics.difference([[1, 0, 0], [1, 1, 0]], np.zeros((2, 3)))
    assert found.value == 0.5
    assert found.p == pytest.approx(2 * stats.t.sf(0.5 / np.sqrt(total / 6), freedom))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(total / 6))


def test_no_difference_and_a_difference_without_exception():
    """The sign test, and the exact interval of a share that none of three examples showed."""
    same, unseen = np.array([[1.0, 0.0, 1.0]] * 2), 1 - 0.025 ** (1 / 3)
    assert statistics.difference(same, same) == pytest.approx((0.0, -unseen, unseen, 1.0))
    found = statistics.difference(np.ones((2, 3)), np.zeros((2, 3)))
    assert found == pytest.approx((1.0, 1 - 2 * unseen, 1.0, 2 * 0.5**3))


@pytest.mark.parametrize(("examples", "is_real"), [(5, False), (6, True)])
def test_without_exception_interval_and_p_agree(examples, is_real):
    found = statistics.difference(np.ones((3, examples)), np.zeros((3, examples)))
    assert (found.low > 0, found.p < 0.05) == (is_real, is_real)


def test_thirds_without_exception_are_no_certainty():
    """The arithmetic of means of thirds leaves a standard error that is not quite 0."""
    pattern = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]] * 2).T
    assert statistics.difference(pattern, np.zeros((3, 6))).p == 2 * 0.5**6


def test_all_right_is_the_exact_binomial_interval():
    for value, right in ((1.0, 10), (0.0, 0)):
        found = statistics.mean(np.full((2, 10), value))
        interval = stats.binomtest(right, 10).proportion_ci()
        assert (found.value, found.low, found.high) == pytest.approx((value, interval.low, interval.high))


def test_seeds_that_agree_on_the_whole_leave_the_examples():
    """No spread of seeds at all: as many degrees of freedom as one likes, the normal distribution."""
    scores = np.array([[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1]], float)
    found = statistics.difference(scores, np.zeros((2, 6)))
    error = np.sqrt(2 * scores[0].var(ddof=1) / 12)
    assert found.high - found.value == pytest.approx(stats.norm.ppf(0.975) * error)


@pytest.mark.parametrize(
    ("seed_spread", "example_spread", "rate"),
    [(0.0, 0.05, 0.02), (0.0, 0.5, 0.04), (0.3, 0.05, 0.06), (0.3, 0.5, 0.07)],
)
def test_false_alarms_are_as_rare_as_they_say(seed_spread, example_spread, rate):
    """Rarer where seeds do not differ, which three of them cannot show, and little more where they do.

    There a percentile bootstrap over three seeds has a rate of 0.2.
    """
    random = np.random.default_rng(0)
    p_values = [statistics.difference(*runs(random, 3, 300, seed_spread, example_spread)).p for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(rate, abs=0.03)


def test_a_real_difference_is_found():
    random = np.random.default_rng(0)
    p_values = [statistics.difference(*runs(random, 3, 1000, 0.05, 0.2, edge=0.3)).p for _ in range(100)]
    assert np.mean(np.array(p_values) < 0.05) > 0.8


def test_the_mean_holds_the_truth_as_often_as_it_says():
    random, hits = np.random.default_rng(0), 0
    truth = runs(random, 400, 4000, 0.1)[1].mean()
    for _ in range(300):
        found = statistics.mean(runs(random, 3, 300, 0.1)[1])
        hits += found.low <= truth <= found.high
    assert 0.9 <= hits / 300 <= 0.99


def test_the_mean_stays_within_the_scores():
    found = statistics.mean([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    assert found.value == 0.9
    assert (found.low >= 0, found.high) == (True, 1.0)


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.6]) == [1.0, 1.0]
    assert statistics.holm([]) == []
