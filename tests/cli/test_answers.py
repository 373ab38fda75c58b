import csv
import json

import numpy as np
import pytest

from kerasft.cli import answers
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-0.5", "-0.5"),
        ("+1e3", "+1e3"),
        (-0.5, "-0.5"),
        ("a = b", "a = b"),
        ("", ""),
    ],
)
def test_a_cell_is_no_formula_and_a_number_stays_one(tmp_path, cell, written):
    answers.write_csv([{"text": cell, "label": "pos", "scores": [0.1]}], tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["text", "label"], [written, "pos"]]


def test_entities_are_told_in_words_and_lists_of_scores_are_not(tmp_path):
    found = [{"label": "PER", "text": "Ann"}, {"label": "LOC", "text": "Bonn"}]
    assert answers.flat({"text": "x", "entities": found, "scores": [0.1]}) == {
        "text": "x",
        "entities": "PER: Ann; LOC: Bonn",
    }
    assert answers.flat({"entities": []}) == {"entities": ""}
    answers.write_csv([{"row": 1, "entities": found}, {"row": 2, "entities": []}], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "row,entities\n1,PER: Ann; LOC: Bonn\n2,\n"


@pytest.mark.parametrize("task", ["masked_lm", "question_answering"])
def test_answers_that_are_lists_of_texts_are_json(make_tiny, task):
    tuner = FineTuner(task, make_tiny("bert"), precision="float32")
    given = ["a [MASK] film"] if task == "masked_lm" else ["who is good ?", "the actor is good ."]
    expected = tuner.predict(given if task == "masked_lm" else [tuple(given)])
    name = "tokens" if task == "masked_lm" else "answers"
    row = json.loads(json.dumps(answers.for_inputs(tuner, given)[0]))
    assert row[name] == [value.decode() for value in expected[name][0]]
    np.testing.assert_allclose(row["scores"], expected["scores"][0])


def test_a_csv_file_is_refused_before_there_are_answers(tmp_path):
    (tmp_path / "there.csv").write_text("text")
    for path in (tmp_path / "there.csv", tmp_path):
        with pytest.raises(UserError, match="There is something already; choose another file. Received: --csv "):
            answers.check_target(str(path))
    with pytest.raises(UserError, match=r"There is no folder '.*none' to write to; make it first. Received: --csv "):
        answers.check_target(str(tmp_path / "none" / "new.csv"))
    answers.check_target(str(tmp_path / "new.csv"))
    assert not (tmp_path / "new.csv").exists()
