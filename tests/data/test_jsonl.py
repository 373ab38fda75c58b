import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.data.base import load
from kerasft.data.jsonl import read
from kerasft.errors import UserError

VALUES = st.text(max_size=8) | st.integers() | st.booleans() | st.lists(st.text(max_size=4), max_size=3)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"text": VALUES, "label": VALUES}), min_size=1, max_size=4), ascii=st.booleans()
)
def test_round_trip(tmp_path_factory, rows, ascii):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    path.write_bytes("\n".join(json.dumps(row, ensure_ascii=ascii) for row in rows).encode())
    assert read(path).to_dict("records") == rows


def test_types_gaps_blank_lines_and_byte_order_mark(tmp_path):
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


def test_lone_surrogates_get_as_far_as_the_check_of_texts(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud800"}\n')
    assert read(tmp_path / "a.jsonl")["text"].tolist() == ["\ud800"]
