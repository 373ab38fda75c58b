"""A label for an image: files, bytes and arrays are the same picture, and what is no picture is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner


@pytest.fixture(scope="module")
def tuner(make_tiny):
    return FineTuner("image_classification", make_tiny("efficientnet"), labels=["dark", "light"])


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")


@pytest.mark.parametrize("shape", [(40, 36, 3), (40, 36), (40, 36, 4), (7, 90, 3)])
def test_file_bytes_and_array_are_one_picture(tuner, tmp_path, shape):
    array = pixels(*shape)
    (tmp_path / "a.png").write_bytes(png(array))
    scores = [tuner.predict([x])["scores"] for x in (array, png(array), str(tmp_path / "a.png"), tmp_path / "a.png")]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-6)


def test_pictures_of_several_sizes_in_one_call(tuner):
    images = [pixels(40, 36, 3), pixels(10, 90, 3)]
    together = tuner.predict(images)["scores"]
    alone = np.concatenate([tuner.predict([image])["scores"] for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_answers_have_the_signatures_names_and_types(tuner):
    answers = tuner.predict([pixels(32, 32, 3)] * 3)
    assert {name: (value.dtype.kind, value.shape) for name, value in answers.items()} == {
        "label": ("O", (3,)),
        "score": ("f", (3,)),
        "scores": ("f", (3, 2)),
    }
    np.testing.assert_allclose(answers["scores"].sum(-1), 1, atol=1e-6)
    assert set(answers["label"]) <= {b"dark", b"light"}


def test_pixels_are_scaled_as_in_the_pretraining(tuner):
    image = pixels(32, 32, 3)
    made = tuner.preprocessor(image[None])
    np.testing.assert_allclose(made[0], (image.astype("float32") - 127) / 128, atol=1e-6)


def test_size_of_choice(make_tiny):
    backbone = make_tiny("efficientnet", input_shape=(None, None, 3))
    tuner = FineTuner("image_classification", backbone, labels=["a", "b"], image_size=48)
    assert tuner.preprocessor(pixels(1, 20, 30, 3)).shape == (1, 48, 48, 3)


@pytest.mark.parametrize("image_size", [16, 64.0, "large"])
def test_a_size_must_be_whole_and_large_enough(make_tiny, image_size):
    with pytest.raises(UserError, match="image_size must be a whole number, 32 or more"):
        FineTuner("image_classification", make_tiny("efficientnet"), image_size=image_size)


def test_pixels_from_0_to_1_are_refused(tuner):
    with pytest.raises(UserError, match="0"):
        tuner.predict([pixels(8, 8, 3) / 255.0])


def test_what_is_no_picture_is_named(tuner, tmp_path):
    (tmp_path / "broken.png").write_bytes(png(pixels(32, 32, 3))[:60])
    with pytest.raises(UserError, match="row 2"):
        tuner.predict([png(pixels(8, 8, 3)), str(tmp_path / "broken.png")])


def test_a_text_backbone_is_refused(make_tiny):
    with pytest.raises(UserError, match="The task reads image, the backbone text"):
        FineTuner("image_classification", make_tiny("bert"), labels=["a", "b"]).predict([pixels(8, 8, 3)])
