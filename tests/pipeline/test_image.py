import io

import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from kerasft.pipeline import batching, image
from kerasft.pipeline.image import ImagePreprocessor, collect

RANDOM = np.random.default_rng(0)


def pixels(height, width, channels=3):
    shape = (height, width, channels) if channels else (height, width)
    return RANDOM.integers(0, 256, shape, dtype="uint8")


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def preprocessor():
    converter = keras_hub.layers.EfficientNetImageConverter(
        image_size=(32, 48), scale=1 / 128, offset=-1.0, crop_to_aspect_ratio=True
    )
    return ImagePreprocessor(converter)


def inputs(preprocessor, images):
    """Returns what a model is given for these images, by the way that training takes."""
    examples = collect(preprocessor, pd.Series(list(images), dtype=object))
    batches = list(batching.dataset(examples, lambda: batching.ordered_batches(examples, 2)))
    return np.concatenate([batch.numpy() for (batch,) in batches])


@pytest.mark.parametrize("size", [(32, 48), (40, 36), (1, 1), (7, 300), (201, 33)])
def test_arrays_bytes_and_paths_of_one_image_are_alike(preprocessor, tmp_path, size):
    arrays = [pixels(*size), pixels(*size)]
    encoded = [png(array) for array in arrays]
    paths = []
    for number, content in enumerate(encoded):
        paths.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(content)
    expected = inputs(preprocessor, arrays)
    assert expected.shape == (2, 32, 48, 3)
    np.testing.assert_array_equal(inputs(preprocessor, encoded), expected)
    np.testing.assert_array_equal(inputs(preprocessor, paths), expected)
    np.testing.assert_array_equal(inputs(preprocessor, [paths[0], encoded[1]]), expected)
    np.testing.assert_array_equal(inputs(preprocessor, [arrays[0], paths[1]]), expected)
    np.testing.assert_array_equal(preprocessor(np.stack(arrays)), expected)
    np.testing.assert_array_equal(preprocessor(np.array(encoded, dtype=object)), expected)


def test_a_batch_of_sizes_is_each_image_by_itself(preprocessor):
    arrays = [pixels(20, 30), pixels(50, 17), pixels(64, 64)]
    together = inputs(preprocessor, arrays)
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(together[number], inputs(preprocessor, [array])[0])


def test_grey_images_get_three_channels(preprocessor):
    grey = pixels(20, 30, 0)
    expected = inputs(preprocessor, [np.repeat(grey[..., None], 3, axis=-1)])
    for given in (grey, grey[..., None], png(grey)):
        np.testing.assert_array_equal(inputs(preprocessor, [given]), expected)


def test_transparency_is_left_out(preprocessor):
    clear = pixels(20, 30, 4)
    expected = inputs(preprocessor, [clear[..., :3]])
    for given in (clear, png(clear)):
        np.testing.assert_array_equal(inputs(preprocessor, [given]), expected)


def test_mixed_channels_in_one_column(preprocessor):
    arrays = [pixels(20, 30, 0), pixels(20, 30, 4), pixels(20, 30)]
    together = inputs(preprocessor, arrays)
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(together[number], inputs(preprocessor, [array])[0])


def test_it_is_the_converter(preprocessor):
    array = pixels(40, 36)
    np.testing.assert_allclose(
        preprocessor(array[None]), preprocessor.converter(array[None].astype("float32")), atol=1e-6
    )


def test_whole_floats_are_the_same_as_bytes(preprocessor):
    array = pixels(20, 30)
    np.testing.assert_array_equal(inputs(preprocessor, [array.astype("float64")]), inputs(preprocessor, [array]))


def test_jpeg_gif_and_bmp_are_decoded(preprocessor):
    for kind in ("JPEG", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels(20, 30)).save(buffer, kind)
        assert inputs(preprocessor, [buffer.getvalue()]).shape == (1, 32, 48, 3)


def test_arrays_of_one_shape_stay_arrays(preprocessor):
    stored = collect(preprocessor, pd.Series([pixels(8, 8), pixels(8, 8)], dtype=object))
    assert stored.values.dtype == np.uint8
    assert stored.signature.shape == (None, 8, 8, 3)
    assert collect(preprocessor, pd.Series([pixels(8, 8), pixels(9, 8)], dtype=object)).values.dtype == object


def test_encoding_loses_nothing(tmp_path):
    for channels in (0, 1, 3, 4):
        array = pixels(11, 13, channels)
        decoded = tf.io.decode_png(image.encode(array)).numpy()
        np.testing.assert_array_equal(decoded, array if channels else array[..., None])
    (tmp_path / "a.png").write_bytes(b"content")
    assert image.encode(b"bytes") == b"bytes"
    assert image.encode(str(tmp_path / "a.png")) == b"content"


def test_config_round_trip(preprocessor):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    assert type(again) is ImagePreprocessor
    array = pixels(40, 36)[None]
    np.testing.assert_array_equal(again(array), preprocessor(array))
    assert again.compute_output_spec(None).shape == (None, 32, 48, 3)


def test_it_works_in_a_graph_of_strings(preprocessor):
    graph = tf.function(lambda images: preprocessor(images), input_signature=[tf.TensorSpec((None,), tf.string)])
    encoded = [png(pixels(20, 30)), png(pixels(9, 9))]
    made = graph(tf.constant(encoded))
    assert made.shape == (2, 32, 48, 3)
    np.testing.assert_array_equal(made, inputs(preprocessor, encoded))
