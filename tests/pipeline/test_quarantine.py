"""Rows left out: how many are too many, what is written of them, and that the run is that of the others."""

import csv
import types

import numpy as np
import pandas as pd
import pytest
import yaml

import kerasft
from kerasft import run_folder
from kerasft.data.base import as_examples
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline.clean import DataWarning, Quarantine, text_problems, without
from tests.interruption import Crash


def table(texts, origin="reviews.csv"):
    return as_examples(pd.DataFrame({"text": pd.Series(texts, dtype=object)}), origin)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "share, rows, bad", [(0.29, 100, 29), (0.07, 100, 7), (0.1, 30, 3), (1, 3, 2), (0.001, 1000, 1)]
)
def test_up_to_the_share_rows_are_left_out(share, rows, bad):
    frame = table([""] * bad + ["fine"] * (rows - bad))
    quarantine = Quarantine(share)
    with pytest.warns(DataWarning, match=rf"reviews.csv: {bad} of {rows:,} rows are left out \(text is empty: {bad}\)"):
        admitted = quarantine.admit(frame, text_problems(frame, "text"))
    assert admitted.index.tolist() == list(range(bad + 1, rows + 1)) and admitted.attrs == frame.attrs
    assert [problem.row for problem in quarantine.problems] == list(range(1, bad + 1))
    one_more = table([""] * (bad + 1) + ["fine"] * (rows - bad - 1))
    with pytest.raises(UserError, match=rf"{bad + 1} of {rows:,} rows cannot be used, with max_bad_rows={share} "):
        quarantine.admit(one_more, text_problems(one_more, "text"))
    assert len(quarantine.problems) == bad


def test_by_default_a_single_row_is_refused_with_the_counts_by_reason():
    frame = table(["fine", "", " ", None, "\0", "", 3])
    with pytest.raises(UserError) as error:
        Quarantine().admit(frame, text_problems(frame, "text"))
    first, *lines = str(error.value).split("\n")
    assert first == (
        "reviews.csv: 6 of 7 rows cannot be used, with max_bad_rows=0.0 (text is empty: 2; text is blank: 1; "
        "text is missing: 1; text holds a NUL character: 1; text is not a string: 1):"
    )
    assert lines[0] == "reviews.csv, row 2: text is empty. Received: ''" and len(lines) == 6


def test_a_table_without_problems_is_the_table_itself(recwarn):
    frame = table(["fine"])
    assert Quarantine().admit(frame, []) is frame and without(frame, []).equals(frame) and not recwarn.list


def test_nothing_left_is_refused_whatever_the_share():
    frame = table(["", " "])
    with pytest.raises(UserError, match="2 of 2 rows cannot be used"):
        Quarantine(1.0).admit(frame, text_problems(frame, "text"))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf"), True, "0.1", None])
def test_the_share_is_a_number_from_0_to_1(share):
    with pytest.raises(UserError, match="fit: max_bad_rows must be 0 or more and 1 at most. Received: max_bad_rows="):
        FineTuner("text_classification", "x").fit("reviews.csv", max_bad_rows=share)


def test_the_list_is_safe_for_spreadsheets(tmp_path):
    """A cell that begins so is a formula for a spreadsheet, quotes or not: https://owasp.org/www-community/attacks/CSV_Injection."""
    frame = table([-1, "a\ud83d", "a\0b", "=1+2", ""], origin='=HYPERLINK("http://x")\udcff')
    with pytest.warns(DataWarning):
        quarantine = Quarantine(0.9)
        quarantine.admit(frame, text_problems(frame, "text"))
    quarantine.write(tmp_path / "quarantine.csv")
    rows = read(tmp_path / "quarantine.csv")
    assert [row["row"] for row in rows] == ["1", "2", "3", "5"]
    assert rows[0] == {
        "origin": "'=HYPERLINK(\"http://x\")\\udcff", "row": "1", "column": "text", "reason": "is not a string",
        "received": "'-1",
    }  # fmt: skip
    assert not any(cell[:1] in "=+-@\t\r" for row in rows for cell in row.values() if cell)


@pytest.fixture
def rows(reviews):
    """Sixteen good rows; rows 17 to 20 are bad, row 17 in two ways."""
    return [
        *reviews,
        {"text": " ", "label": None},
        {"text": "a film", "label": "good"},
        {"text": "a\0", "label": "positive"},
        {},
    ]


ARGUMENTS = {"labels": ["negative", "positive"], "learning_rate": 0.01, "precision": "float32"}


def test_a_run_without_them_is_the_run_of_the_good_rows(make_tiny, rows, reviews, tmp_path):
    tuner = FineTuner("text_classification", make_tiny("bert"), **ARGUMENTS)
    bad_validation = [*reviews[:4], {"text": "", "label": "positive"}]
    with pytest.warns(DataWarning) as warned:
        tuner.fit(rows, validation_data=bad_validation, max_bad_rows=0.2, epochs=1, directory=tmp_path / "run")
    told = [str(w.message).split(" (")[0] for w in warned if "left out" in str(w.message)]
    assert told == ["list of dicts: 4 of 20 rows are left out", "list of dicts: 1 of 5 rows are left out"]
    listed = read(tmp_path / "run" / "quarantine.csv")
    assert [(row["row"], row["column"], row["reason"].split(".")[0]) for row in listed] == [
        ("17", "text", "is blank"),
        ("19", "text", "holds a NUL character"),
        ("20", "text", "is missing"),
        ("17", "label", "is missing"),
        ("18", "label", "'good' is not one of the labels"),
        ("20", "label", "is missing"),
        ("5", "text", "is empty"),
    ]
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["max_bad_rows"] == 0.2
    good = FineTuner("text_classification", make_tiny("bert"), **ARGUMENTS)
    with pytest.warns(DataWarning):  # Of the validation rows that are trained on.
        good.fit(reviews, validation_data=reviews[:4], epochs=1, directory=tmp_path / "good")
    assert not (tmp_path / "good" / "quarantine.csv").exists()
    assert tuner.history == good.history
    np.testing.assert_array_equal(tuner.predict(["a film"])["scores"], good.predict(["a film"])["scores"])
    np.testing.assert_array_equal(
        kerasft.load(tmp_path / "run").predict(["a"])["scores"], good.predict(["a"])["scores"]
    )


def test_another_share_is_another_recipe(make_tiny, rows, tmp_path):
    def fit(share, **options):
        tuner = FineTuner("text_classification", make_tiny("bert"), **ARGUMENTS)
        return tuner.fit(rows, max_bad_rows=share, epochs=2, batch_size=8, directory=tmp_path / "run", **options)

    with pytest.warns(DataWarning), pytest.raises(KeyboardInterrupt):
        fit(0.2, save_freq=1, callbacks=[Crash(1)])
    assert (tmp_path / "run" / "quarantine.csv").exists()  # Written when training begins.
    with pytest.warns(DataWarning), pytest.raises(UserError, match="max_bad_rows: was 0.2, now 0.5"):
        fit(0.5)
    with pytest.warns(DataWarning):
        fit(0.2)
    assert (tmp_path / "run" / "manifest.json").exists()


def test_the_list_of_an_earlier_attempt_is_removed(tmp_path):
    (tmp_path / "quarantine.csv").write_text("old")
    run_folder.write_quarantine(tmp_path, types.SimpleNamespace(problems=[]))
    assert not list(tmp_path.iterdir())


def test_a_refused_table_leaves_no_labels_behind(reviews):
    tuner = FineTuner("text_classification", "x")
    with pytest.raises(UserError, match="row 3: text is blank"):
        tuner.fit(
            [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": " ", "label": "x"}]
            + [{"text": "c", "label": "y"}]
        )
    assert tuner.task.labels is None


def test_labels_are_learned_from_the_rows_that_stay(recwarn):
    task = FineTuner("text_classification", "x").task
    frame = as_examples(pd.DataFrame({"text": ["a", "b", "c", "", " "], "label": ["x", "y", "x", "z", "z"]}), "t")
    assert len(task.prepare(frame, quarantine=Quarantine(0.4))) == 3 and task.labels == ["x", "y"]


def test_problems_of_rows_and_of_the_table_come_together():
    rows = [{"text": " ", "label": "x"}, {"text": "a", "label": "y"}, {"text": "b", "label": "y"}]
    with pytest.raises(UserError) as error:
        FineTuner("text_classification", "x").fit(rows)
    assert "only one class, 'y'" in str(error.value) and "row 1: text is blank" in str(error.value)
