import numpy as np
import pytest
import tensorflow as tf

from kerasft.data.base import load
from kerasft.data.tf_data import read
from kerasft.errors import UserError


def test_dicts():
    dataset = tf.data.Dataset.from_tensor_slices({"text": ["good", "ünïcode"], "label": [1, 0], "tags": [["a"], ["b"]]})
    frame = load(dataset)
    assert frame.attrs["origin"] == "tf.data.Dataset" and frame.index.tolist() == [1, 2]
    assert frame.to_dict("list") == {"text": ["good", "ünïcode"], "label": [1, 0], "tags": [["a"], ["b"]]}


def test_pairs_of_texts_encoded_images_and_arrays(png_images):
    texts = load(tf.data.Dataset.from_tensor_slices((["good", "dull"], ["pos", "neg"])))
    assert texts.to_dict("list") == {"text": ["good", "dull"], "label": ["pos", "neg"]}
    assert load(tf.data.Dataset.from_tensor_slices(png_images))["image"].tolist() == png_images[0]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    images = load(tf.data.Dataset.from_tensor_slices((pixels, [0, 1, 2])))
    np.testing.assert_array_equal(np.stack(images["image"]), pixels)


def test_texts_that_are_not_utf8_stay_bytes_for_the_check():
    frame = load(tf.data.Dataset.from_tensor_slices({"text": [b"ok", b"\xff"]}))
    assert frame["text"].tolist() == ["ok", b"\xff"]


@pytest.mark.parametrize(
    "dataset, words",
    [
        (tf.data.Dataset.from_tensors({"text": "a"}).repeat(), ["never ends", ".take(n)"]),
        (tf.data.Dataset.from_tensor_slices((["a", "b"], [0, 1])).batch(2), [".unbatch()", "Received"]),
        (tf.data.Dataset.from_tensor_slices((np.zeros((2, 3)), [0, 1])), ["one string or image", "Received"]),
        (tf.data.Dataset.from_tensor_slices(["a", "b"]), ["(x, y)", "Received: b'a'"]),
        (tf.data.Dataset.from_tensor_slices({"text": ["a"]}).take(0), ["holds no examples"]),
    ],
)
def test_other_datasets_are_refused(dataset, words):
    with pytest.raises(UserError) as error:
        load(dataset)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_other_objects_are_refused():
    with pytest.raises(UserError, match="reads a tf.data.Dataset. Received: list"):
        read([])
