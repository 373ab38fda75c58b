import numpy as np
import pandas as pd
import pytest
import sacrebleu

from kerasft.errors import UserError
from kerasft.evaluation import report, writing

RIGHT = ["Two dogs run over the wet grass.", "a man in a red shirt", "ein Hund läuft", "it"]
WRITTEN = ["Two dogs are running over wet grass .", "a man in a blue shirt", "ein Hund läuft", ""]
SCORES = np.array([[2.0, 3, 8], [0.4, 6, 7], [0.1, 4, 4], [3.0, 0, 2]])
FRAME = pd.DataFrame({"text": ["<a>", "b", "c", "d"], "target": RIGHT}, index=range(1, 5))


def measured(**options):
    answers = {"target": np.array(WRITTEN, object)}
    return writing.evaluate(None, SCORES, answers, lambda frame: frame, FRAME, resamples=50, **options)


def test_bleu_and_chrf_are_those_of_sacrebleu():
    found = measured().metrics
    assert found["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(WRITTEN, [RIGHT]).score)
    assert found["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(WRITTEN, [RIGHT]).score)
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize(
    ("written", "right"), [(["jawohl", "haus am see"], ["ja", "haus am see"]), (["a dog"], ["a cat"]), ([""], ["yes"])]
)
def test_short_texts_are_measured_as_by_sacrebleu(written, right):
    counts = [writing._counts(*pair) for pair in zip(written, right, strict=True)]
    counts = np.concatenate([SCORES[: len(right)], counts], axis=1)
    weights = np.ones(len(right))
    assert writing.bleu(None, counts, weights) == pytest.approx(sacrebleu.corpus_bleu(written, [right]).score)
    assert writing.chrf(None, counts, weights) == pytest.approx(sacrebleu.corpus_chrf(written, [right]).score)


def test_rouge_counts_words_in_common():
    found = measured().metrics
    # Of 7 and 7 words, 5 are common, in order; of 6 and 6 pairs, "two dogs" and "wet grass".
    assert found["rouge_1"].value == pytest.approx((10 / 14 + 10 / 12 + 1 + 0) / 4)
    assert found["rouge_2"].value == pytest.approx((4 / 12 + 6 / 10 + 1 + 0) / 4)
    assert found["rouge_l"].value == pytest.approx((10 / 14 + 10 / 12 + 1 + 0) / 4)


@pytest.mark.parametrize(("first", "second", "length"), [("abcde", "badce", 3), ("", "a", 0), ("xyz", "xyz", 3)])
def test_the_longest_common_sequence_need_not_be_side_by_side(first, second, length):
    assert writing._longest_common(first, second) == length


def test_the_tokens_are_scored_too():
    found = measured()
    assert found.metrics["cross_entropy"].value == pytest.approx(5.5 / 21)
    assert (found.examples, found.tokens) == (4, 21)


def test_the_farthest_come_first():
    found = measured()
    assert found.mistakes[0]["row"] == 4 and found.mistakes[-1]["row"] == 3
    page = report.html(found, "run", {})
    assert (
        "&lt;a&gt;" in page and "Farthest from right" in page and "chrF of 4 written texts" in page and ">BLEU<" in page
    )


def test_other_numbers_of_answers_are_refused():
    answers = {"target": np.array(WRITTEN, object)}
    with pytest.raises(UserError, match="as many as outputs. Received: 4 and 3"):
        writing.evaluate(None, SCORES[:3], answers, lambda frame: frame, FRAME)
