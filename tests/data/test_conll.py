import pytest

from kerasft.data import base
from kerasft.errors import UserError

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
# NN B-NP O

Peter NNP B-NP B-PER
"""
NUMBERED = """# text = in tampa
1	in	O	-	-
2	tampa	B-LOC	-	ann


# next
1-2	du	O	-	-
1	de	O	-	-
2	le	O	-	-"""


def written(tmp_path, text, name="a.conll"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows(frame):
    return list(zip(frame["tokens"], frame["tags"], strict=True))


def test_the_files_of_conll_2003(tmp_path):
    frame = base.load(written(tmp_path, CONLL_2003))
    assert rows(frame) == [(["EU", "rejects", "#"], ["B-ORG", "O", "O"]), (["Peter"], ["B-PER"])]
    assert frame.attrs["origin"] == "a.conll" and frame.index.tolist() == [1, 2]


def test_numbered_tokens_and_comments(tmp_path):
    frame = base.load(written(tmp_path, NUMBERED, "dev.iob2"))
    assert rows(frame) == [(["in", "tampa"], ["O", "B-LOC"]), (["de", "le"], ["O", "O"])]


@pytest.mark.parametrize(
    "text",
    ["1 CD O\nOctober NNP B-DATE\n", "1 CD O\n\n1998 CD B-DATE\n", "1 CD O\n1 CD B-DATE\n", "2 CD O\n1 CD B-DATE\n"],
)
def test_a_number_that_comes_first_is_a_word(tmp_path, text):
    frame = base.load(written(tmp_path, text))
    words = [line.split() for line in text.splitlines() if line]
    assert [word for row in frame["tokens"] for word in row] == [word for word, *_ in words]
    assert [tag for row in frame["tags"] for tag in row] == [tag for *_, tag in words]


def test_no_line_is_left_out_where_the_first_column_is_chosen(tmp_path):
    path = written(tmp_path, "1 CD NP O\n3 CD NP O\n")
    frame = base.load({"name": "conll", "path": path, "tokens": 0, "tags": 3})
    assert rows(frame) == [(["1", "3"], ["O", "O"])]


def test_numbered_tokens_with_gaps_and_comments_as_wide_as_they_are(tmp_path):
    frame = base.load(written(tmp_path, "# a b\n1 in O\n2-3 du O\n4 Oslo B-LOC\n\n# c d\n\n1 so O\n"))
    assert rows(frame) == [(["in", "Oslo"], ["O", "B-LOC"]), (["so"], ["O"])]


def test_chosen_columns_windows_lines_and_a_byte_order_mark(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbfO;a;x\r\nB-X;b;y\r\n\r\nO;c;z\r\n")
    frame = base.load({"name": "conll", "path": path, "tokens": 1, "tags": 0, "separator": ";"})
    assert rows(frame) == [(["a", "b"], ["O", "B-X"]), (["c"], ["O"])]


@pytest.mark.parametrize(
    ("text", "arguments", "part"),
    [
        ("a O\nb\n", {}, "a.conll, line 2: a line must have 2 columns, as the first has. Received: 'b'"),
        ("a O\nb O\n", {"tags": 2}, "has 2 columns, from 0. Received: tags=2"),
        ("a O\n", {"tokens": "first"}, "Received: tokens='first'"),
        (b"\xff O\n", {}, "is not UTF-8. Received: byte 0xff"),
        ("\n\n", {}, "holds no examples"),
        ("-DOCSTART- O\n", {}, "holds no examples"),
    ],
)
def test_unusable_files_are_refused(tmp_path, text, arguments, part):
    with pytest.raises(UserError, match=part):
        base.load({"name": "conll", "path": written(tmp_path, text), **arguments})
