import numpy as np
import pandas as pd
import pytest

from kerasft.data.base import load
from kerasft.errors import UserError


@pytest.mark.parametrize(
    "x",
    [
        ["good", "dull"],
        np.array(["good", "dull"]),
        np.array(["good", "dull"], dtype=object),
        np.array([b"good", b"dull"]),
        pd.Series(["good", "dull"], index=[5, 6]),
    ],
)
def test_texts(x):
    frame = load((x, [1, 0]))
    assert frame["text"].tolist() == ["good", "dull"] and frame["label"].tolist() == [1, 0]
    assert type(frame["text"].iat[0]) is str and frame.index.tolist() == [1, 2]


def test_tensors():
    import tensorflow as tf

    frame = load((tf.constant(["good", "dull"]), tf.constant([1, 0])))
    assert frame.to_dict("list") == {"text": ["good", "dull"], "label": [1, 0]}


@pytest.mark.parametrize("shape, dtype", [((3, 4, 5), np.uint8), ((3, 4, 5, 3), np.uint8), ((3, 4, 5, 1), np.float32)])
def test_images_are_views(shape, dtype):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    frame = load((x, np.array([[0], [1], [0]])))
    assert all(np.shares_memory(image, x) for image in frame["image"])
    np.testing.assert_array_equal(np.stack(frame["image"]), x)
    assert frame["label"].tolist() == [0, 1, 0]


def test_images_of_several_sizes_and_encoded(png_images):
    images = [np.zeros((2, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)]
    assert [image.shape for image in load((images, ["a", "b"]))["image"]] == [(2, 3), (4, 4, 3)]
    files, labels = png_images
    frame = load((files, labels))
    assert frame["image"].tolist() == files and frame["label"].tolist() == labels


def test_lists_of_labels():
    assert load((["good", "dull"], [["x", "y"], []]))["label"].tolist() == [["x", "y"], []]


@pytest.mark.parametrize(
    "data, words",
    [
        ((["a", "b"], [1]), ["same length", "Received: 2 and 1"]),
        ((np.zeros((4, 3)), [0] * 4), ["x must hold strings", "shape (3,)"]),
        (([1, 2], [0, 1]), ["x must hold strings", "int"]),
        (("a text", [1]), ["x must be an array or a list", "Received: <U6 array of shape ()"]),
        ((["a", "b"], np.eye(2)), ["one label a row", "argmax", "Received: shape (2, 2)"]),
        ((["a", "b"], 3), ["one label a row", "Received: shape ()"]),
    ],
)
def test_wrong_pairs_are_refused(data, words):
    with pytest.raises(UserError) as error:
        load(data)
    assert all(word in str(error.value) for word in words), str(error.value)
