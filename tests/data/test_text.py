import copy
import pickle

import pandas as pd
import pytest

from kerasft.data import base
from kerasft.errors import UserError

TEXT = "\ufeffFirst line,\nsecond.\n \n\nÜber 北京\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("paragraph", ["First line,\nsecond.", "Über 北京"]),
        ("line", ["First line,", "second.", "Über 北京"]),
        ("file", [TEXT[1:-1]]),
    ],
)
def test_rows(path, part, expected):
    frame = base.load({"name": "text", "path": path, "part": part})
    assert frame["text"].tolist() == expected and frame.attrs["origin"] == "corpus.txt"


def test_the_ending_is_known(path):
    assert len(base.load(path)) == 2


def test_what_cannot_be_read_is_refused(path, tmp_path):
    with pytest.raises(UserError, match="part must be one of line, paragraph, file. Received: part='page'"):
        base.load({"name": "text", "path": path, "part": "page"})
    other = tmp_path / "latin.txt"
    other.write_bytes("so\nnaïve".encode("latin-1"))
    with pytest.raises(UserError, match="latin.txt, line 2, is not UTF-8. Received: byte 0xef"):
        base.load(other)
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(UserError, match="holds no examples"):
        base.load(tmp_path / "empty.txt")


def test_lines_end_alike_however_they_end_in_the_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\n\r\nthree\rfour")
    assert base.load(tmp_path / "a.txt")["text"].tolist() == ["one\ntwo", "three\rfour"]


def test_texts_stay_in_the_file(path):
    frame = base.load({"name": "text", "path": path, "part": "line"})
    column = frame["text"].array
    assert column.nbytes == 3 * 17
    for part in (frame[1:], frame[frame["text"].map(len) > 7], frame.iloc[[2, 0]], pd.concat([frame, frame])):
        assert type(part["text"].array) is type(column)
    assert frame.iloc[[2, 0]]["text"].tolist() == ["Über 北京", "First line,"]
    assert frame.loc[3, "text"] == column[-1] == "Über 北京" and not frame["text"].isna().any()
    assert copy.deepcopy(column).file.descriptor != column.file.descriptor
    assert pickle.loads(pickle.dumps(frame))["text"].tolist() == list(column)
    assert frame["text"].to_numpy().tolist() == frame.copy()["text"].tolist() == list(column)


def test_a_file_may_be_gone_but_not_changed(path):
    frame = base.load(path)
    path.rename(path.with_name("elsewhere.txt"))
    assert frame["text"].tolist()[1] == "Über 北京"
    (path.with_name("elsewhere.txt")).write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="corpus.txt was changed while it was read. Received: byte 3"):
        frame["text"].tolist()
