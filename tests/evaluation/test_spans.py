import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.evaluation import report, spans

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def logits(rows, sure=5.0):
    flat = np.concatenate([[LABELS.index(tag) for tag in row.split()] for row in rows] or [[]]).astype(int)
    values = sure * np.eye(len(LABELS))[flat]
    return tf.RaggedTensor.from_row_lengths(values, [len(row.split()) for row in rows])


def numbers(rows):
    return np.array([LABELS.index(tag) for row in rows for tag in row.split()])


def evaluated(truth, predicted, frame=None):
    return spans.evaluate(numbers(truth), logits(predicted), LABELS, frame=frame, resamples=50)


def test_the_case_of_seqevals_manual():
    truth = ["O O O B-LOC I-LOC I-LOC O", "B-PER I-PER O"]
    predicted = ["O O B-LOC I-LOC I-LOC I-LOC O", "B-PER I-PER O"]
    found = evaluated(truth, predicted).metrics
    assert {name: found[name].value for name in ("f1", "precision", "recall", "f1/LOC", "f1/PER")} == {
        **dict.fromkeys(("f1", "precision", "recall"), 0.5),
        **{"f1/LOC": 0.0, "f1/PER": 1.0},
    }
    assert found["macro_f1"].value == 0.5 and found["word_accuracy"].value == pytest.approx(0.8)
    assert found["f1"].low == 0 and found["f1"].high == 1


def test_a_rare_type_that_is_always_found_has_no_width():
    truth = ["B-PER O"] * 9 + ["B-LOC O"]
    assert [row["f1"] for row in evaluated(truth, truth).per_class] == [(1, 1, 1), (1, 1, 1)]


def test_counts_and_texts_by_type():
    truth = ["B-LOC O B-PER", "B-PER I-PER", "O"]
    predicted = ["B-LOC B-LOC O", "B-PER B-PER", "O"]
    found = evaluated(truth, predicted)
    assert found.labels == ["LOC", "PER"] and found.examples == 3
    assert found.confusion.tolist() == [[[0, 1], [0, 1]], [[0, 2], [2, 0]]]
    assert [row["support"] for row in found.per_class] == [1, 2]
    assert [row["precision"].value for row in found.per_class] == [0.5, 0.0]
    name, scores = spans.example_scores(numbers(truth), logits(predicted), LABELS)
    assert name == "text_accuracy" and scores.tolist() == [0, 0, 1]


def test_mistakes_name_what_was_missed_and_made_up():
    columns = {"text": "Ann saw <b>Bonn", "starts": [0, 4, 8], "ends": [3, 7, 15]}
    frame = pd.DataFrame({name: [value] for name, value in columns.items()}, index=[7])
    frame.attrs["origin"] = "a.conll"
    (mistake,) = evaluated(["B-PER O B-LOC"], ["B-LOC O B-LOC"], frame).mistakes
    assert (mistake["row"], mistake["origin"]) == (7, "a.conll")
    assert (mistake["truth"], mistake["predicted"]) == ("PER: Ann", "LOC: Ann")
    assert mistake["score"] == pytest.approx(np.exp(5) / (np.exp(5) + 4))
    page = report.html(evaluated(["B-PER O B-LOC"], ["B-LOC O O"], frame), "run", {})
    assert "LOC: &lt;b&gt;Bonn" in page and "<b>Bonn" not in page and "Made up" in page


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [(["O"], ["O"]), (["", "O"], ["", "B-PER"]), (["", ""], ["", ""]), (["B-PER"], ["O"])],
)
def test_texts_without_words_and_without_spans(tmp_path, truth, predicted):
    found = evaluated(truth, predicted)
    assert found.metrics["f1"].value == 0
    report.write(found, tmp_path, "run", {})
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_the_picture_is_of_tags():
    assert spans.picture(numbers(["O B-PER"]), logits(["O O"]), LABELS).name == "confusion"


@pytest.mark.parametrize(
    ("targets", "outputs", "part"),
    [
        (numbers(["O O"]), logits(["O"]), "Received: 2 targets for 1 words in 1 texts"),
        (numbers([]), logits([]), "Received: 0 targets for 0 words in 0 texts"),
        (numbers(["O", "O O"]), logits(["O", "O O"]) * np.nan, "data, row 1: the outputs must be finite"),
    ],
)
def test_unusable_outputs_are_refused(targets, outputs, part):
    with pytest.raises(UserError, match=part):
        spans.evaluate(targets, outputs, LABELS)
