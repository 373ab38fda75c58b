import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.evaluation import answers, report
from kerasft.pipeline import answers as spans

CONTEXT = "The red house, by the lake"
STARTS, ENDS = [0, 4, 8, 13, 15, 18, 22], [3, 7, 13, 14, 17, 21, 26]


def outputs(*rows):
    """Returns logits by which the words `first` to `last` are the answer, as sure as `value`."""
    made = np.full((len(rows), len(STARTS), 2), -9.0, "float32")
    for row, (first, last, value) in enumerate(rows):
        made[row, first, 0] = made[row, last, 1] = value / 2
    return tf.RaggedTensor.from_tensor(made)


def targets(*golds):
    return [(CONTEXT, STARTS, ENDS, list(gold)) for gold in golds]


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("the Red House!", ["red house"], (1, 1)),
        ("red", ["red house", "blue"], (0, 2 / 3)),
        ("a red red", ["red house red"], (0, 0.8)),
        ("", [], (1, 1)),
        ("red", [], (0, 0)),
        ("", ["red"], (0, 0)),
        ("the", ["the"], (1, 1)),
    ],
)
def test_scores_are_those_of_the_official_script(answer, gold, expected):
    assert spans.scores(answer, gold) == pytest.approx(expected)


def test_the_best_span_of_each_text():
    values, firsts, lasts = spans.best(outputs((1, 2, 6), (5, 5, 4)))
    assert values[:, 0].numpy().tolist() == [6, 4]
    assert (firsts[:, 0].numpy().tolist(), lasts[:, 0].numpy().tolist()) == ([1, 5], [2, 5])


def test_no_answer_ends_before_it_begins_or_is_too_long():
    logits = np.full((1, 60, 2), -9.0, "float32")
    logits[0, 50, 0], logits[0, 10, 1], logits[0, 52, 1] = 5, 5, 1
    _, first, last = spans.best(tf.RaggedTensor.from_tensor(logits))
    assert (int(first[0, 0]), int(last[0, 0])) == (50, 52)
    logits[0, 0, 0], logits[0, 59, 1] = 50, 50
    _, first, last = spans.best(tf.RaggedTensor.from_tensor(logits))
    assert int(last[0, 0] - first[0, 0]) < spans.LONGEST


def test_texts_of_few_words_or_none():
    values, firsts, lasts = spans.best(tf.RaggedTensor.from_row_lengths(np.ones((1, 2), "float32"), [0, 1, 0]))
    assert values.shape == (3, spans.BEST)
    assert (values.numpy() > spans.NEVER / 2).sum(1).tolist() == [0, 1, 0]
    assert (int(firsts[1, 0]), int(lasts[1, 0])) == (0, 0)
    assert spans.best(tf.RaggedTensor.from_row_lengths(np.ones((0, 2), "float32"), []))[0].shape == (0, spans.BEST)


def test_measures_of_all_questions_and_by_kind():
    given = targets(["red house"], ["house"], [])
    found = answers.evaluate(given, outputs((1, 2, 6), (1, 2, 6), (5, 5, -4)), threshold=0.0, resamples=50)
    values = {name: estimate.value for name, estimate in found.metrics.items()}
    assert values == pytest.approx(
        {
            **{"exact": 2 / 3, "f1": (1 + 2 / 3 + 1) / 3, "exact/answerable": 0.5, "f1/answerable": 5 / 6},
            **{"exact/unanswerable": 1.0, "f1/unanswerable": 1.0},
        }
    )
    (mistake,) = found.mistakes
    assert (mistake["truth"], mistake["predicted"]) == ("house", "red house")
    assert "red house" in report.html(found, "run", {})
    assert answers.example_scores(given, outputs((1, 2, 6), (1, 2, 6), (5, 5, -4)), 0.0)[1] == pytest.approx(
        [1, 2 / 3, 1]
    )


def test_without_a_threshold_there_is_always_an_answer():
    found = answers.evaluate(targets([], ["lake"]), outputs((1, 1, -4), (6, 6, -4)), resamples=10)
    assert found.metrics["exact"].value == 0.5


def test_the_threshold_with_most_right_answers():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(size=12).round(1) * 3
        golds = [["lake"] if rng.random() < 0.5 else [] for _ in values]
        made = outputs(*[(6, 6, value) for value in values])
        chosen = spans.best_threshold(targets(*golds), made)
        tried = [right(value, values, golds) for value in (chosen, values.min() - 1, *values)]
        assert tried[0] >= max(tried) - (len(set(values)) < len(values))


def right(threshold, values, golds):
    found = [("lake" if value > threshold else "") for value in values]
    return sum(spans.scores(text, gold)[0] for text, gold in zip(found, golds, strict=True))


@pytest.mark.parametrize(
    ("given", "made", "part"),
    [
        (targets([]), outputs((0, 0, 1), (0, 0, 1)), "Received: 1 questions, 2 outputs"),
        (targets([]), outputs((0, 0, np.nan)), "data, row 1: the outputs must be finite"),
    ],
)
def test_unusable_outputs_are_refused(given, made, part):
    with pytest.raises(UserError, match=part):
        answers.evaluate(given, made)
