import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.presets import applications, base
from kerasft.presets._converters import ApplicationsConverter


def builders():
    return {name: value for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value)}


def test_lists_all_that_keras_has():
    assert set(applications.IMAGE_SIZES) == set(builders())
    assert {entry.name for entry in applications.entries()} == {f"applications:{name.lower()}" for name in builders()}


class Asked(Exception):
    pass


def test_image_sizes_are_those_that_keras_takes_by_default(monkeypatch):
    from keras.src.applications import imagenet_utils

    def ask(input_shape, default_size, **options):
        raise Asked(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", ask)
    found = {}
    for name, builder in builders().items():
        if name.startswith("MobileNetV3"):
            assert "(224, 224, 3)" in builder.__doc__
            continue
        with pytest.raises(Asked) as asked:
            builder(weights=None)
        found[name] = asked.value.args[0]
    assert found == {name: applications.IMAGE_SIZES[name] for name in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    "convnexttiny densenet121 efficientnetb1 efficientnetv2b0 inceptionv3 mobilenet mobilenetv2 nasnetmobile resnet50 "
    "resnet50v2 vgg16 xception".split(),
)
def test_every_family_loads_and_comes_back(name, tmp_path):
    pretrained = applications.load(name, weights=False)
    size = applications.IMAGE_SIZES[applications.BUILDERS[name]]
    assert pretrained.name == f"applications:{name}"
    assert pretrained.converter(np.zeros((1, 8, 8, 3), "float32")).shape == (1, size, size, 3)
    base.write_architecture(pretrained, tmp_path)
    again = base.read_architecture(tmp_path)
    shapes = [(weight.path, weight.shape) for weight in pretrained.backbone.weights]
    assert [(weight.path, weight.shape) for weight in again.backbone.weights] == shapes
    again.backbone.set_weights(pretrained.backbone.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    features = [np.asarray(found.backbone(found.converter(pixels))) for found in (pretrained, again)]
    np.testing.assert_allclose(*features, atol=1e-5)

    # The same as the model that Keras builds.
    original = builders()[applications.BUILDERS[name]](include_top=False, weights=None)
    original.set_weights(pretrained.backbone.get_weights())
    np.testing.assert_allclose(np.asarray(original(pretrained.converter(pixels))), features[0], atol=1e-5)


def test_loads_a_model_without_a_download():
    pretrained = applications.load("MobileNetV3Small", weights=False)
    assert (pretrained.modality, pretrained.causal) == ("image", False)
    assert pretrained.converter.image_size == (224, 224) and pretrained.converter.family == "mobilenet_v3"
    assert pretrained.backbone(pretrained.converter(np.zeros((2, 30, 40, 3), "float32"))).shape == (2, 7, 7, 576)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("resnet", [30 - 103.939, 20 - 116.779, 10 - 123.68]),  # Caffe: BGR less the mean
        ("resnet_v2", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
        ("densenet", [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]),
        ("efficientnet", [10, 20, 30]),  # the model does it itself
    ],
)
def test_the_converter_does_the_familys_preprocessing(family, expected):
    pixels = np.tile(np.array([10, 20, 30], "float32"), (1, 6, 8, 1))
    converter = ApplicationsConverter(family, (4, 4))
    np.testing.assert_allclose(converter(pixels), np.tile(expected, (1, 4, 4, 1)), rtol=1e-5)
    in_graph = next(iter(tf.data.Dataset.from_tensors(pixels).map(converter)))
    np.testing.assert_array_equal(in_graph, converter(pixels))


def test_the_converter_comes_back_from_its_config_with_another_size():
    converter = ApplicationsConverter("vgg16", (4, 6))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(converter))
    assert (again.family, again.image_size) == ("vgg16", (4, 6))
    larger = ApplicationsConverter.from_config({**converter.get_config(), "image_size": (8, 8)})
    assert larger(np.zeros((1, 5, 5, 3), "float32")).shape == (1, 8, 8, 3)


def test_sees_what_keras_has_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    names = [
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "efficientnetv2-b0_notop.h5",
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    ]
    for name in names:
        (tmp_path / "models" / name).touch()
    here = {entry.name.partition(":")[2] for entry in applications.entries() if entry.is_here}
    assert here == {"resnet50v2", "mobilenetv2", "mobilenetv3small", "efficientnetv2b0"}


def test_a_failed_download_is_told(monkeypatch):
    def offline(include_top, weights):
        raise Exception("URL fetch failure on https://… : None -- no route")

    offline.__name__, offline.__module__ = "ResNet50", "keras.src.applications.resnet"
    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(UserError, match="could not be downloaded: URL fetch failure.*'applications:resnet50'"):
        applications.load("resnet50")
