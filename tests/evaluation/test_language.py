import numpy as np
import pandas as pd
import pytest

from kerasft.errors import UserError
from kerasft.evaluation import language, report

SCORES = np.array([[2.0, 3, 4], [0.4, 2, 2], [9.0, 0, 3]])


def test_measures_are_those_of_all_tokens_together():
    found = language.evaluate(None, SCORES, resamples=50)
    values = {name: estimate.value for name, estimate in found.metrics.items()}
    assert values == pytest.approx(
        {"cross_entropy": 11.4 / 9, "perplexity": np.exp(11.4 / 9), "token_accuracy": 5 / 9, "exact": 1 / 3}
    )
    assert (found.examples, found.tokens) == (3, 9)
    for estimate in found.metrics.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_rows_are_compared_by_their_mean():
    name, scores = language.example_scores(None, SCORES)
    assert name == "negative_cross_entropy_by_row" and scores.tolist() == pytest.approx([-0.5, -0.2, -3])


def test_the_hardest_rows_come_first(tmp_path):
    frame = pd.DataFrame({"prompt": ["a", "b", "<c>"], "completion": ["d", "e", "f"]}, index=[1, 2, 3])
    found = language.evaluate(None, SCORES, shown=lambda rows: rows, frame=frame, resamples=20)
    assert [mistake["row"] for mistake in found.mistakes] == [3, 1, 2]
    page = report.html(found, "run", {})
    assert "&lt;c&gt;" in page and "Hardest rows" in page and "3.000" in page


@pytest.mark.parametrize(
    ("outputs", "part"),
    [
        (np.zeros((2, 3)), "with a token at least"),
        (np.ones((2, 2)), r"outputs must be \(rows, 3\)"),
        (np.array([[np.nan, 1, 1]]), "row 1: the outputs must be finite"),
    ],
)
def test_unusable_scores_are_refused(outputs, part):
    with pytest.raises(UserError, match=part):
        language.evaluate(None, outputs)
