import csv

import pytest

from kerasft.cli import answers


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
