import numpy as np
import pandas as pd
import pytest

from kerasft import registry
from kerasft.data.base import as_examples, load, plain
from kerasft.errors import UserError


@pytest.fixture
def reviews_csv(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\ngood,1\nbad,0\n")
    return path


def test_the_ending_picks_the_source_whatever_its_case(tmp_path, reviews_csv):
    expected = [["good", "1"], ["bad", "0"]]
    assert load(reviews_csv).values.tolist() == expected
    assert load(str(reviews_csv)).values.tolist() == expected
    (tmp_path / "R.CSV").write_bytes(reviews_csv.read_bytes())
    assert load(tmp_path / "R.CSV").values.tolist() == expected


def test_home_folder_is_expanded(tmp_path, reviews_csv, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load("~/reviews.csv")) == 2


def test_rows_count_from_one_and_know_their_origin(reviews_csv):
    frame = load(reviews_csv)
    assert frame.index.tolist() == [1, 2]
    assert frame.attrs == {"origin": "reviews.csv", "folder": str(reviews_csv.parent)}


def test_named_source_takes_its_arguments(tmp_path):
    (tmp_path / "a.txt").write_text("good;1\n")
    frame = load({"name": "csv", "path": tmp_path / "a.txt", "separator": ";", "names": ["text", "label"]})
    assert frame.to_dict("list") == {"text": ["good"], "label": ["1"]}


@pytest.mark.parametrize(
    "data, words",
    [
        ({"path": "a.csv"}, ["names its source", "Received: {'path': 'a.csv'}"]),
        ({"name": "cvs", "path": "a.csv"}, ["no 'cvs'", "Did you mean 'csv'?", "Received: 'cvs'"]),
        ({"name": "csv", "paht": "a.csv"}, ["no argument 'paht'", "Did you mean 'path'?", "needs the argument 'path'"]),
        ({"a text", "another"}, ["Data must be a path", "DataFrame", "Received: set"]),
        (["a text", "another"], ["Data must be a path", "Received: list of str"]),
        (None, ["Data must be a path", "Received: NoneType"]),
        (pd.DataFrame({"text": []}), ["DataFrame holds no examples", "Received: DataFrame"]),
        ([], ["list of dicts holds no examples", "Received: list"]),
        (([], []), ["(x, y) holds no examples", "Received: tuple"]),
    ],
)
def test_what_is_no_data_is_refused(data, words):
    with pytest.raises(UserError) as error:
        load(data)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_missing_file_names_the_nearest_in_its_folder(reviews_csv):
    with pytest.raises(
        UserError, match=r"no file '.*review\.csv'\. Did you mean 'reviews\.csv'\? Received: '.*review\.csv'"
    ):
        load(reviews_csv.with_name("review.csv"))


@pytest.mark.parametrize("name", ["no/such/folder/a.csv", "nul\0.csv", "x" * 5000, ""])
def test_odd_paths_are_refused_and_do_not_crash(name):
    with pytest.raises(UserError, match="Received"):
        load(name)


def test_unknown_ending_lists_the_known(tmp_path):
    (tmp_path / "reviews.xlsx").touch()
    with pytest.raises(UserError) as error:
        load(tmp_path / "reviews.xlsx")
    assert "reviews.xlsx has none of the endings" in str(error.value)
    assert all(ending in str(error.value) for ending in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"))


@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
def test_a_folder_is_no_file(tmp_path, source):
    with pytest.raises(UserError, match="A file is needed, and .* is a folder. Received: '"):
        load({"name": source, "path": tmp_path})
    with pytest.raises(UserError, match="A path must be a string. Received: 3"):
        load({"name": source, "path": 3})


def test_header_without_rows_holds_no_examples(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(UserError, match="a.csv holds no examples. Received: '.*a.csv'"):
        load(tmp_path / "a.csv")


def test_folder_of_nothing_known_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        UserError, match=r"No source knows the folder .*notes\.txt.*<label>(.|\n)*image_folder.*Received"
    ):
        load(tmp_path)


def test_two_sources_for_one_ending_must_be_told_apart(tmp_path, monkeypatch):
    from kerasft.data import jsonl

    (tmp_path / "a.csv").write_text("text\nx\n")
    monkeypatch.setattr(jsonl, "ENDINGS", (".csv",))
    with pytest.raises(UserError, match="More than one source reads this: csv, jsonl.*Received"):
        load(tmp_path / "a.csv")


def test_loading_a_loaded_table_keeps_row_numbers_and_origin(reviews_csv):
    second = load(reviews_csv).iloc[1:]
    again = load(second)
    assert again.index.tolist() == [2] and again.attrs["origin"] == "reviews.csv"


def test_as_examples_leaves_its_argument_alone():
    frame = pd.DataFrame({"text": ["a", "b"]}, index=["x", "y"])
    frame.attrs["mine"] = 1
    numbered = as_examples(frame, "mine.csv")
    assert frame.index.tolist() == ["x", "y"] and frame.attrs == {"mine": 1}
    assert numbered.index.tolist() == [1, 2] and numbered.attrs == {"origin": "mine.csv"}


@pytest.mark.parametrize(
    "value, expected",
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xd8\xff", b"\xff\xd8\xff"),
        (b"BM\0\0", b"BM\0\0"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bytes_(b"a"), "a"),
        (np.longdouble(2), np.longdouble(2)),
        (np.array([b"a", b"b"], dtype=object), ["a", "b"]),
        (np.array(["a"]), ["a"]),
        ([b"a", [np.int8(1)]], ["a", [1]]),
        (None, None),
    ],
)
def test_plain(value, expected):
    result = plain(value)
    assert result == expected and type(result) is type(expected)


def test_plain_keeps_arrays_of_numbers():
    array = np.zeros((2, 2), np.uint8)
    assert plain(array) is array


@pytest.mark.parametrize("name", registry.names("data"))
def test_every_source_has_a_documented_read(name):
    read = registry.find("data", name, "read")
    assert "Returns: pandas.DataFrame" in read.__doc__ and "Raises: UserError" in read.__doc__
