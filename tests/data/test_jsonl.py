import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.data import _in_file
from kerasft.data.base import load
from kerasft.data.jsonl import read
from kerasft.errors import UserError

VALUES = st.text(max_size=8) | st.integers() | st.booleans() | st.lists(st.text(max_size=4), max_size=3)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"text": VALUES, "label": VALUES}), min_size=1, max_size=4), ascii=st.booleans()
)
def test_round_trip(place, tmp_path_factory, rows, ascii):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    path.write_bytes("\n".join(json.dumps(row, ensure_ascii=ascii) for row in rows).encode())
    assert read(path).to_dict("records") == rows


def test_types_gaps_blank_lines_and_byte_order_mark(place, tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a", "label": 1}\r\n\r\n{"text": "b\\u2028"}\n{"text": null, "label": 2}')
    frame = load(path)
    assert frame.attrs["origin"] == "a.ndjson" and frame.index.tolist() == [1, 2, 3]
    assert frame["text"].tolist() == ["a", "b\u2028", None]
    assert frame["label"].tolist()[::2] == [1, 2] and type(frame["label"].iat[0]) is int
    assert pd.isna(frame["label"].iat[1])


@pytest.mark.parametrize(
    "line, words",
    [
        (b'{"text": "b"', ["delimiter", 'Received: \'{"text": "b"\'']),
        (b'["b"]', ["it is a list", "Received: '[\"b\"]'"]),
        (b"null", ["NoneType"]),
        (b'{"text": "\xff"}', ["utf-8"]),
        (b'{"text": "a", "text": "b"}', ["a key occurs twice"]),
        (b'{"label": NaN}', ["NaN is not JSON"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b'{"label": ' + b"9" * 100_000 + b"}", ["100000 digits"]),
    ],
)
def test_broken_lines_are_refused_with_their_number(tmp_path, line, words):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n' + line + b'\n{"text": "c"}\n')
    with pytest.raises(UserError) as error:
        read(path)
    assert all(word in str(error.value) for word in ["a.jsonl, line 3", "Received", *words]), str(error.value)
    assert len(str(error.value)) < 500


def test_lone_surrogates_get_as_far_as_the_check_of_texts(place, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud800"}\n')
    assert read(tmp_path / "a.jsonl")["text"].tolist() == ["\ud800"]


def test_columns_of_few_values_are_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_in_file, "LEAST", 0)
    monkeypatch.setattr(_in_file, "FEW", 3)
    rows = [{"text": f"film {n}", "label": "ab"[n % 2], "note": "x" * 200} for n in range(9)]
    rows += [{"text": "a", "label": 1, "later": True}, {"text": "a", "label": 1.0}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = load(tmp_path / "a.jsonl")
    in_file = [name for name in frame if isinstance(frame[name].array, _in_file.FileValues)]
    assert in_file == ["text", "note"] and list(frame) == ["text", "label", "note", "later"]
    assert [{name: value for name, value in row.items() if value == value} for row in frame.to_dict("records")] == rows
    assert [type(value) for value in frame["label"][-2:]] == [int, float]
    assert frame["note"].isna().tolist() == [False] * 9 + [True] * 2
    assert frame["later"].isna().sum() == 10
    assert pd.isna(frame["note"].iat[-1]) and frame["note"].iat[0] == "x" * 200


def test_a_file_that_was_changed_is_told(place, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    frame = load(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n["text", "b"]\n')
    if place == "in memory":
        assert frame["text"].tolist() == ["a", "b"]
    else:
        with pytest.raises(UserError, match="a.jsonl was changed while it was read. Received: byte 14"):
            frame["text"].tolist()
