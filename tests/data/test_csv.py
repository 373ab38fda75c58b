import csv
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.data.csv import read
from kerasft.errors import UserError
from kerasft.pipeline.clean import DataWarning

# Everything that UTF-8 can write but NUL: quotes, separators, line ends of all kinds, blanks, accents, emoji.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    [
        '"',
        '""',
        ",",
        "\t",
        "\r\n",
        "\r",
        "\n",
        " ",
        "\u2028",
        "\x85",
        "\x0b",
        "NA",
        "null",
        "007",
        "é",
        "e\u0301",
        "👩‍👧",
    ]
)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6), separator=st.sampled_from(",\t;|")
)
def test_round_trip_of_what_python_writes(place, tmp_path_factory, rows, separator):
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([["a", "b", "c"], *rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # Of cells with a tab and a line break.
        frame = read(path, separator=separator)
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame.values.tolist() == [[cell or None for cell in row] for row in rows]
    assert frame.index.tolist() == list(range(1, len(rows) + 1))


def test_round_trip_of_what_pandas_writes(place, tmp_path):
    import pandas as pd

    written = pd.DataFrame({"text": ['say "hi", then\nleave', "x"], "label": [1, 0]})
    written.to_csv(tmp_path / "a.csv")
    frame = read(tmp_path / "a.csv")
    assert frame.to_dict("list") == {"column 1": ["0", "1"], "text": written["text"].tolist(), "label": ["1", "0"]}


def test_nothing_is_guessed(place, tmp_path):
    cells = ["NA", "null", "None", "nan", "007", "1e5", "TRUE", "2024-01-01", " x ", "0x10", "1,5"]
    path = write(tmp_path / "a.csv", "text\n" + "\n".join(f'"{cell}"' for cell in cells) + "\n")
    assert read(path)["text"].tolist() == cells


def test_empty_cells_are_missing_quoted_or_not(place, tmp_path):
    assert read(write(tmp_path / "a.csv", 'text,label\n,1\n"",0\n'))["text"].tolist() == [None, None]


def test_tab_separates_tsv(tmp_path):
    assert read(write(tmp_path / "a.tsv", "text\tlabel\na, b\t1\n")).values.tolist() == [["a, b", "1"]]


def test_names_stand_for_a_missing_header(place, tmp_path):
    frame = read(write(tmp_path / "a.tsv", "good\t1\nbad\t0\n"), names=["text", "label"])
    assert frame.to_dict("list") == {"text": ["good", "bad"], "label": ["1", "0"]}


def test_byte_order_mark_line_ends_and_blank_lines(place, tmp_path):
    frame = read(write(tmp_path / "a.csv", b'\xef\xbb\xbftext,label\r\n"a\r\nb",1\r\n\r\nc,0'))
    assert frame.to_dict("list") == {"text": ["a\r\nb", "c"], "label": ["1", "0"]}


def test_quotes_as_plain_characters(place, tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"good" film\t1\n"open\t0\n')
    assert read(path, quote=None)["text"].tolist() == ['"good" film', '"open']
    with pytest.raises(UserError, match=r"a\.tsv, line 2.*quote.*quote=None.*Received: '\"good\" film"):
        read(path)


def test_rows_that_a_quote_may_have_joined_are_told(place, tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tlabel\nfine\t1\n"He came.\t1\nAnd he left."\t0\n')
    with pytest.warns(DataWarning, match=r"quote: null:\na\.tsv, line 3\. Received: 'He came\.\\t1\\nAnd he left\.'$"):
        assert len(read(path)) == 2
    assert read(path, quote=None).values.tolist()[1:] == [['"He came.', "1"], ['And he left."', "0"]]
    assert len(read(write(tmp_path / "a.csv", 'text,label\n"one, two,\nthree",1\n'))) == 1


def test_other_encoding(place, tmp_path):
    assert read(write(tmp_path / "a.csv", b"text\ncaf\xe9\n"), encoding="latin-1")["text"].tolist() == ["café"]


def test_long_cell_and_many_columns(place, tmp_path):
    frame = read(write(tmp_path / "a.csv", "text,label\n" + "x" * 1_000_000 + ",1\n"))
    assert len(frame["text"].iat[0]) == 1_000_000
    wide = read(write(tmp_path / "b.csv", ",".join(map(str, range(10_000))) + "\n" + "," * 9_999 + "\n"))
    assert wide.shape == (1, 10_000)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ["a.csv is empty", "Received"]),
        (b"text\nok\nbad \xff\xfe\n", ["a.csv, line 3", "not utf-8", "UTF-8", r"Received: b'\xff\xfe\n'"]),
        ("text\nok\n".encode("utf-16"), ["a.csv, line 1", "not utf-8"]),
        (b"text\nok\nab\0c\n", ["a.csv, line 3", "NUL", "Received"]),
        (b'text,label\nok,1\n"never closed,0\nx,1\n', ["a.csv, line 3", "quote", "not closed", "Received: '\"never"]),
        (b'text,label\n"two\nlines",1\n"a"b,0\n', ["a.csv, line 4", "quote", "Received: '\"a\"b,0'"]),
        (
            b'text,label\n"two\nlines",1\na,b,0\n',
            ["a.csv, line 4", "3 cells", "2 columns", "Received: ['a', 'b', '0']"],
        ),
        (b"text,label\nonly text\n", ["a.csv, line 2", "1 cells", "2 columns"]),
        (b"text,label,text\na,1,b\n", ["a.csv has columns of the same name", "'text'", "Received"]),
    ],
)
def test_broken_files_are_refused_with_their_line(place, tmp_path, content, words):
    with pytest.raises(UserError) as error:
        read(write(tmp_path / "a.csv", content))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_all_ragged_rows_are_reported_at_once(place, tmp_path):
    with pytest.raises(UserError) as error:
        read(write(tmp_path / "a.csv", "text,label\n" + "x\n" * 30))
    assert "line 2:" in str(error.value) and "line 21:" in str(error.value) and "… and 10 more" in str(error.value)


@pytest.mark.parametrize(
    "arguments", [{"separator": "::"}, {"quote": ""}, {"names": "text"}, {"names": [1]}, {"encoding": "utf-99"}]
)
def test_wrong_arguments_are_named(tmp_path, arguments):
    with pytest.raises(UserError, match=f"Received: {next(iter(arguments))}="):
        read(write(tmp_path / "a.csv", "text\nx\n"), **arguments)
