import unicodedata

import numpy as np
import pandas as pd
import pytest

from kerasft.data.base import as_examples
from kerasft.errors import UserError
from kerasft.pipeline import clean

WANTED = {"text": True, "text_pair": False, "label": True}


def text_problems(frame, column):
    return list(map(str, clean.text_problems(frame, column)))


def table(**columns):
    return as_examples(
        pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}), "reviews.csv"
    )


def test_choose_columns_takes_what_is_wanted_under_our_names():
    frame = table(id=[7, 8], review=["a", "b"], label=["x", "y"]).iloc[1:]
    chosen = clean.choose_columns(frame, WANTED, {"text": "review"})
    assert chosen.to_dict("list") == {"text": ["b"], "label": ["y"]}
    assert chosen.index.tolist() == [2] and chosen.attrs == {"origin": "reviews.csv"}
    assert list(frame.columns) == ["id", "review", "label"]


def test_choose_columns_can_swap_names():
    chosen = clean.choose_columns(table(text=["a"], label=["b"]), WANTED, {"text": "label", "label": "text"})
    assert chosen.to_dict("list") == {"text": ["b"], "label": ["a"]}


@pytest.mark.parametrize(
    "columns, words",
    [
        (None, ["reviews.csv has no column 'text'", "Did you mean 'Text'?", "It has: 'Text', 'stars'", "columns=None"]),
        ({"text": "Text", "label": "star"}, ["no column 'star'", "Did you mean 'stars'?"]),
        ({"txt": "Text"}, ["columns maps 'txt'", "Did you mean 'text'?", "It reads: text, text_pair, label"]),
        ({"text": "Text", "label": "stars", "text_pair": "other"}, ["no column 'other'"]),
        ("Text", ["columns must be a dict", "Received: columns='Text'"]),
    ],
)
def test_wrong_columns_are_refused(columns, words):
    with pytest.raises(UserError) as error:
        clean.choose_columns(table(Text=["a"], stars=[1]), WANTED, columns)
    assert all(word in str(error.value) for word in [*words, "Received"]), str(error.value)


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(UserError, match="'text'(.|\n)*'label'"):
        clean.choose_columns(table(a=["a"]), WANTED)


def test_resolve_paths_starts_at_the_folder_of_the_file(tmp_path):
    frame = as_examples(
        pd.DataFrame({"image": ["cat/1.jpg", "/far/2.jpg", None]}, dtype=object), "a.csv", tmp_path / "a.csv"
    )
    resolved = clean.resolve_paths(frame, "image")
    assert resolved["image"].tolist() == [str(tmp_path / "cat/1.jpg"), "/far/2.jpg", None]
    assert resolved.attrs == frame.attrs and frame["image"].iat[0] == "cat/1.jpg"
    assert clean.resolve_paths(table(image=["cat/1.jpg"]), "image")["image"].tolist() == ["cat/1.jpg"]


@pytest.mark.parametrize(
    "value, problem",
    [
        ("", "text is empty. Received: ''"),
        (" \t\r\n\u3000\u2028", "text is blank. Received: "),
        (None, "text is missing. Received: None"),
        (float("nan"), "text is missing. Received: nan"),
        (pd.NA, "text is missing. Received: <NA>"),
        (3, "text is not a string. Received: 3"),
        (b"\xff", r"text is not a string. Received: b'\xff'"),
        (["a"], "text is not a string. Received: ['a']"),
        (np.array(["a"]), "text is not a string. Received: <U1 array of shape (1,)"),
        ("a\0b", r"text holds a NUL character. Received: 'a\x00b'"),
        ("a\ud83d", r"text holds half of a surrogate pair, which no encoding can write. Received: 'a\ud83d'"),
        ("\udc00a", "text holds half of a surrogate pair"),
    ],
)
def test_unusable_texts(value, problem):
    found = text_problems(table(text=["fine", value, "fine"]), "text")
    assert len(found) == 1 and found[0].startswith(f"reviews.csv, row 2: {problem}")
    found[0].encode()  # Can be printed.


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "\ufeffwith a byte order mark",
        "two\r\nlines",
        unicodedata.normalize("NFD", "é"),
        "שלום مرحبا",
        "👩‍👩‍👧‍👦",
        "\U0010ffff",
        "[CLS] <|endoftext|>",
        "\x01\x7f",
        "x" * 1_000_000,
        "\u200b",
        np.str_("numpy"),
    ],
)
def test_odd_but_usable_texts(text):
    assert clean.text_problems(table(text=[text]), "text") == []


def test_text_of_pandas_own_type():
    frame = as_examples(pd.DataFrame({"text": ["a", None, " "]}), "reviews.csv")
    assert [problem.split(". ")[0] for problem in text_problems(frame, "text")] == [
        "reviews.csv, row 2: text is missing",
        "reviews.csv, row 3: text is blank",
    ]


def test_refuse_shows_twenty_and_counts_the_rest():
    clean.refuse([], "nothing")
    with pytest.raises(UserError) as error:
        clean.refuse([f"problem {number}" for number in range(332)], "reviews.csv cannot be used")
    lines = str(error.value).split("\n")
    assert lines[0] == "reviews.csv cannot be used:" and lines[-1] == "… and 312 more"
    assert lines[1:-1] == [f"problem {number}" for number in range(20)]
    with pytest.raises(UserError, match="^all:\na\nb$"):
        clean.refuse(["a", "b"], "all")


def test_warn_shows_five_and_counts_the_rest(recwarn):
    clean.warn([], "nothing")
    assert not recwarn.list
    with pytest.warns(clean.DataWarning, match="^leaks:\n0\n1\n2\n3\n4\n… and 1,995 more$"):
        clean.warn(list(map(str, range(2_000))), "leaks")


def test_brief_cuts_whatever_it_gets():
    assert clean.brief("abc") == "'abc'" and clean.brief("x" * 100, limit=3) == "'xxx'…"
    assert clean.brief(b"x" * 100, limit=3) == "b'xxx'…" and clean.brief([1] * 100, limit=4) == "[1, …"
    assert clean.brief(np.zeros((2, 3))) == "float64 array of shape (2, 3)"


def test_a_hundred_thousand_texts():
    text = [f"ein schöner Film, number {number} " * 4 for number in range(100_000)]
    frame = table(text=text, label=["a", "b"] * 50_000)
    assert clean.text_problems(frame, "text") == []
    assert len(clean.label_ids(frame, "label", clean.infer_labels(frame["label"]))) == 100_000
