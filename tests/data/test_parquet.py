import pandas as pd
import pytest

from kerasft.data.base import load
from kerasft.errors import UserError


def test_round_trip_with_lists_bytes_and_index(tmp_path):
    written = pd.DataFrame(
        {"text": ["é", None], "image": [b"\xff\xd8", b""], "tags": [["a", "b"], []]}, index=pd.Index([7, 9], name="id")
    )
    written.to_parquet(tmp_path / "a.parquet")
    frame = load(tmp_path / "a.parquet")
    assert frame.attrs["origin"] == "a.parquet" and frame.index.tolist() == [1, 2]
    assert frame["text"].iat[0] == "é" and pd.isna(frame["text"].iat[1])
    assert frame["image"].tolist() == [b"\xff\xd8", b""]
    assert [list(tags) for tags in frame["tags"]] == [["a", "b"], []]
    assert frame["id"].tolist() == [7, 9]


@pytest.mark.parametrize("keep", [0, 3, 100])
def test_cut_file_is_refused(tmp_path, keep):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a"] * 50}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="a.parquet is not a whole Parquet file(.|\n)*Received: '.*a.parquet'"):
        load(path)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    column = pyarrow.array([b"ok", b"\xff"], pyarrow.binary()).cast(pyarrow.string(), safe=False)
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="(?i)a.parquet.*utf-?8"):
        load(tmp_path / "a.parquet")


def test_columns_of_the_same_name_are_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match="columns of the same name: 'text'"):
        load(tmp_path / "a.parquet")
