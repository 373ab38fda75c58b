import keras_cv
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.presets import base
from kerasft.presets import keras_cv as source


def tiny(include_rescaling):
    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[64],
        stackwise_blocks=[1],
        stackwise_strides=[1],
        block_type="basic_block",
        include_rescaling=include_rescaling,
    )


def test_lists_the_image_backbones_that_have_weights():
    listed = {
        name
        for value in vars(keras_cv.models).values()
        if isinstance(value, type) and issubclass(value, keras_cv.models.Backbone)
        for name in value.presets_with_weights
    }
    images = {f"keras_cv:{name}" for name in listed if not name.startswith(("videoswin", "yolo"))}
    assert {entry.name for entry in source.entries()} == images


@pytest.mark.parametrize("include_rescaling", [True, False])
def test_pixels_are_rescaled_once(monkeypatch, include_rescaling):
    backbone = tiny(include_rescaling)
    monkeypatch.setattr(keras_cv.models.ResNet50Backbone, "from_preset", lambda name, load_weights: backbone)
    pretrained = base.resolve("keras_cv:resnet50_imagenet")
    assert (pretrained.name, pretrained.modality, pretrained.causal) == ("keras_cv:resnet50_imagenet", "image", False)
    pixels = np.full((1, 30, 40, 3), 255.0, "float32")
    converted = np.asarray(pretrained.converter(pixels))
    assert converted.shape == (1, 224, 224, 3)
    np.testing.assert_allclose(converted, 255.0 if include_rescaling else 1.0, rtol=1e-6)


def test_an_architecture_comes_back(tmp_path):
    backbone = tiny(include_rescaling=True)
    base.write_architecture(base.Pretrained("x", backbone, "image", base.resolve(backbone).converter), tmp_path)
    again = base.read_architecture(tmp_path).backbone
    assert [weight.path for weight in again.weights] == [weight.path for weight in backbone.weights]
    again.set_weights(backbone.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(again(pixels), backbone(pixels))


def test_a_failed_download_is_told(monkeypatch):
    def offline(name, load_weights):
        raise ConnectionError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(keras_cv.models.ResNet50Backbone, "from_preset", offline)
    with pytest.raises(UserError, match="api.kaggle.com'. Without a network.*'keras_cv:resnet50_imagenet'"):
        source.load("resnet50_imagenet")
