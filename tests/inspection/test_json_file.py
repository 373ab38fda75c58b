import json
import sys

import pytest

from kerasft.errors import UserError
from kerasft.inspection import json_file


@pytest.mark.parametrize("value", [{"a": [1, -2.5, None, True, "é\u2028"]}, [], 10**39, "x", {"a": {"a": 1}}])
def test_what_python_writes_comes_back(tmp_path, value):
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert json_file.read(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 102 + "]" * 102, "more than 100 levels"),
        ('{"a": 1, "a": 1}', "a key occurs twice"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "too large"),
        ("9" * 41, "41 digits"),
        (b'"\xff"', "utf-8"),
        ("{} {}", "Extra data"),
        ("", "Expecting value"),
    ],
)
def test_the_rest_is_refused(tmp_path, text, reason):
    (tmp_path / "a.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=f"a.json: not JSON as kerasft reads it: .*{reason}.*Received: "):
        json_file.read(tmp_path / "a.json")


def test_a_hundred_levels_are_read_in_a_deep_stack():
    def deeper(levels):
        return deeper(levels - 1) if levels else json_file.loads("[" * 100 + "]" * 100)

    assert deeper(sys.getrecursionlimit() // 3)


def test_a_diverged_loss_is_read_where_it_may_be(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([float("nan"), float("inf"), 1e308]))
    assert json_file.read(tmp_path / "a.json", allow_nan=True)[1:] == [float("inf"), 1e308]


def test_size_and_kind_of_the_file(tmp_path):
    (tmp_path / "a.json").write_text(" " * 100 + "1")
    with pytest.raises(UserError, match="may have 100 bytes at most. Received: more"):
        json_file.read(tmp_path / "a.json", max_bytes=100)
    for path in (tmp_path / "b.json", tmp_path):
        with pytest.raises(UserError, match="There is no JSON file here. Received: "):
            json_file.read(path)
