import numpy as np
import pandas as pd
import pytest

from kerasft.data.base import load
from kerasft.data.frame import read
from kerasft.errors import UserError


def test_frame_is_numbered_and_not_changed():
    given = pd.DataFrame({"text": ["a", "b"], "label": pd.Categorical(["x", "y"])}, index=[10, 10])
    frame = load(given)
    assert frame.index.tolist() == [1, 2] and frame.attrs == {"origin": "DataFrame"}
    assert frame["label"].tolist() == ["x", "y"]
    assert given.index.tolist() == [10, 10] and given.attrs == {}


def test_list_of_dicts_keeps_types_and_fills_gaps():
    image = np.zeros((2, 2), np.uint8)
    frame = load([{"text": "a", "label": 1, "image": image}, {"text": "\ud800"}, {"label": ["x", "y"]}])
    assert frame.attrs["origin"] == "list of dicts"
    assert frame["text"].tolist()[:2] == ["a", "\ud800"] and pd.isna(frame["text"].iat[2])
    assert type(frame["label"].iat[0]) is int and frame["label"].iat[2] == ["x", "y"]
    assert frame["image"].iat[0] is image


def test_columns_of_the_same_name_are_refused():
    with pytest.raises(UserError, match="DataFrame has columns of the same name: 'text'. Received: .*'text', 'text'"):
        load(pd.DataFrame([["a", "b"]], columns=["text", "text"]))


def test_other_objects_are_refused():
    with pytest.raises(UserError, match="DataFrame or a list of dicts. Received: 3"):
        read(3)
