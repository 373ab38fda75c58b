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
