import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasft.data.base import as_examples
from kerasft.pipeline.clean import conflicting, content_keys, duplicates


def table(origin="train.csv", **columns):
    frame = pd.DataFrame(index=range(len(next(iter(columns.values())))))
    for name, values in columns.items():
        frame[name] = pd.Series(list(values), dtype=object)
    return as_examples(frame, origin)


def test_duplicates_name_both_rows():
    train = table(text=["a good film", "dull", " a good film"])
    validation = table("test.csv", text=["new", "a good film\n"])
    assert duplicates(train, validation, ["text"]) == [
        "test.csv, row 2: same text as train.csv, row 1. Received: 'a good film\\n'"
    ]
    assert duplicates(train, table("test.csv", text=["A good film", "a  good film"]), ["text"]) == []


def test_duplicates_of_two_columns_need_both():
    train = table(text=["a", "b"], text_pair=["x", None])
    validation = table("test.csv", text=["a", "b", "a"], text_pair=["y", float("nan"), "x"])
    found = duplicates(train, validation, ("text", "text_pair"))
    assert [message.split(". ")[0] for message in found] == [
        "test.csv, row 2: same text and text_pair as train.csv, row 2",
        "test.csv, row 3: same text and text_pair as train.csv, row 1",
    ]


def test_rows_keep_their_numbers_after_a_split():
    frame = table(text=["a", "b", "a", "c", "b"])
    found = duplicates(frame[frame.index < 3], frame[frame.index >= 3], ["text"])
    assert [message.split(": ")[0] for message in found] == ["train.csv, row 3", "train.csv, row 5"]
    assert found[0].endswith("as train.csv, row 1. Received: 'a'")


def test_images_are_compared_by_content(tmp_path):
    for name, content in {"a.png": b"one", "b.png": b"two", "copy of a.png": b"one"}.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "copy of a.png", "missing.png")]
    keys = content_keys(table(image=paths), ["image"])
    assert keys[0] == keys[2] and len(set(keys)) == 3
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    same = [array, array.copy(), np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]]
    other = [array.T, array.reshape(4, 3), array + 1, array.astype(np.float32), array.tobytes()]
    keys = content_keys(table(image=same + other), ["image"])
    assert len(set(keys[: len(same)])) == 1 and len(set(keys)) == 1 + len(other)


def test_a_text_that_looks_like_a_path_is_a_text(tmp_path):
    (tmp_path / "a.png").write_bytes(b"one")
    assert content_keys(table(text=[str(tmp_path / "a.png")]), ["text"]) == [(str(tmp_path / "a.png"),)]


@pytest.mark.parametrize("value", [None, 3, 2.5, ["a", ["b"]], ("a",), {"a": 1}, np.array(["a"], dtype=object), pd.NA])
def test_any_value_has_a_key(value):
    first, second = content_keys(table(tokens=[value, value]), ["tokens"])
    assert first == second and hash(first) == hash(second)


def test_conflicting_labels_name_both_rows():
    frame = table(text=["a", "b", "a ", "b", "a"], label=["pos", "neg", "neg", "neg", "pos"])
    assert conflicting(frame, ["text"], "label") == [
        "train.csv, row 3: same text as row 1, but another label. Received: 'neg' after 'pos'"
    ]


def test_conflicting_lists_of_labels():
    frame = table(text=["a", "a", "b", "b"], label=[["x", "y"], ["x", "y"], ["x"], ["y"]])
    assert [message.split(":")[0] for message in conflicting(frame, ["text"], "label")] == ["train.csv, row 4"]


@given(st.lists(st.sampled_from("abc "), max_size=8), st.lists(st.sampled_from("abc "), max_size=8))
def test_duplicates_are_those_of_a_plain_search(left, right):
    train, validation = table(text=left), table("test.csv", text=right)
    found = {int(message.split("row ")[1].split(":")[0]) for message in duplicates(train, validation, ["text"])}
    stripped = [text.strip() for text in left]
    assert found == {row for row, text in enumerate(right, start=1) if text.strip() in stripped}
