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
        ("file", [TEXT[1:]]),
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
    other.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(UserError, match="latin.txt is not UTF-8. Received: byte 0xef"):
        base.load(other)
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(UserError, match="holds no examples"):
        base.load(tmp_path / "empty.txt")
