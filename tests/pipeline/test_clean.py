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
    assert resolved.attrs == {"origin": "a.csv"} and frame["image"].iat[0] == "cat/1.jpg"
    assert frame.attrs == {"origin": "a.csv", "folder": str(tmp_path)}
    assert clean.resolve_paths(table(image=["cat/1.jpg"]), "image")["image"].tolist() == ["cat/1.jpg"]


def test_relative_paths_are_resolved_once():
    frame = as_examples(pd.DataFrame({"image": ["1.jpg"]}, dtype=object), "a.csv", "photos/a.csv")
    again = clean.resolve_paths(clean.resolve_paths(frame, "image"), "image")
    assert again["image"].tolist() == ["photos/1.jpg"]


LISTS = [
    ("['EU', 'rejects']", ["EU", "rejects"]),
    ('["EU", "it\'s"]', ["EU", "it's"]),
    ("['it\\'s \"so\"', \"'s\", '']", ['it\'s "so"', "'s", ""]),
    (" ['a',\n 'b',] ", ["a", "b"]),
    ("[0, 1.5, 'a']", [0, 1.5, "a"]),
    ("[{'start': 0, 'end': 3, 'label': 'PER'}]", [{"start": 0, "end": 3, "label": "PER"}]),
    ("[]", []),
]
NO_LISTS = [
    *("['a' 'b']", "['a'\n 'b']", "[u'a' u'b']", "['it' \"s\"]", "[0 1 2]", "[EU, rejects]", "['a', b]", "['a', None]"),
    *("['a'], ['b']", "[1 -1]", "[f()]", "[laughter]", "[" * 10_000 + "]" * 10_000, "[{[]: 1}]", "[b'a']"),
]


@pytest.mark.parametrize(("written", "items"), LISTS)
def test_lists_that_are_written_as_text(written, items):
    assert clean.as_list(written) == items


@pytest.mark.parametrize("written", NO_LISTS)
def test_a_text_with_the_brackets_of_a_list_that_is_none_is_refused(written):
    frame = table(tokens=[written, ["a"]], tags=[written, ["O"]], label=[written, ["a"]])
    reason = "has the brackets of a list and is none: texts need quotes, and a comma between two"
    for problems in (clean.token_problems(frame, "tokens"), clean.multi_label_problems(frame, "label")):
        assert [(problem.row, problem.reason) for problem in problems] == [(1, reason)]
    (problem,) = clean.tag_problems(table(tokens=[["a"]], tags=[written]), "tags", "tokens")
    assert problem.reason == reason


def test_texts_that_merely_begin_with_a_bracket_are_words():
    assert clean.as_list("[ 1 ] Smith (2001)") == ["[", "1", "]", "Smith", "(2001)"]
    assert [clean.as_list(text) for text in ("[", "]", "[CLS] a")] == [["["], ["]"], ["[CLS]", "a"]]


@pytest.mark.parametrize("text", ["a\0b", "a\ud83d", "\udc00", " ", 3, None])
def test_no_text_is_a_word_or_a_message(text):
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "a"}]
    (problem,) = clean.message_problems(table(messages=[messages]), "messages")
    assert problem.reason.endswith("as message 1, which is no text")
    (problem,) = clean.token_problems(table(tokens=[["a", text]]), "tokens")
    assert problem.reason.startswith("holds ") and problem.reason.endswith(", which is no word")
    str(problem).encode()  # Can be printed.


def test_messages_that_pandas_wrote():
    assert clean.as_turns("[{'role': 'user', 'content': 'a'}]") == [("user", "a")]


@pytest.mark.parametrize("label", [None, float("nan"), ""])
def test_a_span_without_its_label_is_told(label):
    frame = table(text=["Ann"], spans=[[{"start": 0, "end": 3, "label": label}]])
    (problem,) = clean.span_problems(frame, "spans", "text")
    assert problem.reason == "has a span from 0 to 3 whose label is missing"


@pytest.mark.parametrize(
    ("texts", "starts"), [("Oslo", 10), ("Oslo", [10]), (["Oslo"], 10), (["Oslo", "Rome"], [10]), (["Oslo"], [1, 2])]
)
def test_answers_are_two_lists_of_one_length(texts, starts):
    assert clean.as_answers({"text": texts, "answer_start": starts}) is None
    arrays = {"text": np.array(["Oslo"], object), "answer_start": np.array([10])}
    assert clean.as_answers(arrays) == [{"text": "Oslo", "start": 10}]


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
