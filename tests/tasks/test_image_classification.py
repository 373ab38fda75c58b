import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest

from kerasft import methods
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.presets.base import Pretrained
from kerasft.tasks.image_classification import ImageClassification
from kerasft.training import fit as training

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 40, 36, 3), dtype="uint8")
LABELS = ["cat", "dog"] * 4


def vision_transformer():
    return keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )


def mobile_net():
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None)


def resnet():
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64], stackwise_num_blocks=[1],
        stackwise_num_strides=[1], block_type="basic_block",
    )  # fmt: skip


@pytest.mark.parametrize("make", [vision_transformer, mobile_net, resnet])
def test_every_kind_of_backbone_trains(make, tmp_path):
    converter = keras_hub.layers.ImageConverter(image_size=(32, 32), scale=1 / 127.5, offset=-1.0)
    pretrained = Pretrained("tiny", make(), "image", converter)
    task = ImageClassification(dropout=0.0)
    frame = task.prepare(data_sources.load((PIXELS, LABELS)))
    examples = task.examples(frame, task.preprocessor(pretrained))
    model = FineTunedModel(pretrained.backbone, task.head(pretrained))
    methods.Full().apply(model)
    before = model.head.logits.kernel.numpy()
    settings = training.Settings(None, "constant", 1e-3, 1, 8, 0, str(tmp_path))
    history = training.fit(model, task, methods.Full().stages(model, 1), (examples, examples), settings, list)
    assert np.isfinite(history.history["val_loss"]).all()
    assert not np.array_equal(before, model.head.logits.kernel.numpy())


def test_image_size(make_tiny):
    task = ImageClassification(labels=LABELS[:2], image_size=64)
    pretrained = make_tiny("efficientnet", input_shape=(None, None, 3))
    preprocessor = task.preprocessor(pretrained)
    assert preprocessor(PIXELS).shape == (8, 64, 64, 3)
    model = FineTunedModel(pretrained.backbone, task.head(pretrained))
    assert model(preprocessor(PIXELS)).shape == (8, 2)
    assert ImageClassification(labels=LABELS[:2]).preprocessor(pretrained)(PIXELS).shape == (8, 32, 32, 3)


def test_an_image_size_that_the_backbone_cannot_have_is_refused(tiny_efficientnet):
    with pytest.raises(UserError, match=r"tiny_efficientnet takes images of \(32, 32\).*Received: image_size=64"):
        ImageClassification(image_size=64).preprocessor(tiny_efficientnet)
    assert ImageClassification(image_size=32).preprocessor(tiny_efficientnet).image_size == (32, 32)


def test_pixels_stay_float32_whatever_the_policy(tiny_efficientnet):
    tiny_efficientnet.converter.dtype_policy = "mixed_bfloat16"
    assert ImageClassification().preprocessor(tiny_efficientnet)(PIXELS).dtype == "float32"


@pytest.mark.parametrize("size", [0, 16, 32.0, "96", (96, 96), True])
def test_a_wrong_image_size_is_refused(size):
    with pytest.raises(UserError, match="image_size must be a whole number, 32 or more. Received: "):
        ImageClassification(image_size=size)


@pytest.mark.parametrize(
    ("images", "part"),
    [
        (PIXELS / 255, "multiply by 255"),
        (PIXELS + 0.5, "outside 0 to 255"),
        (PIXELS // 2 + 0.5, "holds fractions"),
        ([b"no image"] * 8, "cannot be decoded"),
        (["/nowhere/a.png"] * 8, "there is no such file"),
    ],
)
def test_unusable_images_are_named(images, part):
    frame = data_sources.load(pd.DataFrame({"image": list(images), "label": LABELS}))
    with pytest.raises(UserError) as error:
        ImageClassification().prepare(frame)
    assert part in str(error.value)
    assert "Received: " in str(error.value)


def test_relative_paths_start_at_the_file_that_lists_them(tmp_path, png_images):
    (tmp_path / "images").mkdir()
    for number, content in enumerate(png_images[0]):
        (tmp_path / "images" / f"{number}.png").write_bytes(content)
    rows = "".join(f"images/{number}.png,{label}\n" for number, label in enumerate(png_images[1]))
    (tmp_path / "train.csv").write_text(f"file,label\n{rows}")
    task = ImageClassification(columns={"image": "file"})
    frame = task.prepare(data_sources.load(tmp_path / "train.csv"))
    assert frame["image"].iloc[0] == str(tmp_path / "images" / "0.png")


def test_a_prepared_table_may_be_prepared_again(tmp_path, png_images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, content in enumerate(png_images[0]):
        (tmp_path / "photos" / f"{number}.png").write_bytes(content)
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(png_images[1]))
    (tmp_path / "photos" / "train.csv").write_text(f"image,label\n{rows}")
    task = ImageClassification()
    frame = task.prepare(data_sources.load("photos/train.csv"))
    pd.testing.assert_frame_equal(task.prepare(frame), frame)


@pytest.mark.parametrize(
    ("inputs", "count"),
    [
        (PIXELS, 8),
        (PIXELS[0], 1),
        (PIXELS[..., 0], 8),
        (PIXELS[0, ..., 0], 1),
        (list(PIXELS), 8),
        (b"encoded", 1),
        ("a.png", 1),
        (["a.png", b"encoded"], 2),
    ],
)
def test_inputs_of_predict(inputs, count):
    frame = ImageClassification().frame_of(inputs)
    assert len(frame) == count
    assert list(frame.index) == list(range(1, count + 1))


def test_request_is_encoded_bytes():
    task = ImageClassification()
    made = task.request(task.frame_of(PIXELS))
    assert made.keys() == task.signature().keys() == {"image_bytes"}
    assert all(content.startswith(b"\x89PNG") for content in made["image_bytes"])


def test_config_round_trip():
    made = ImageClassification(["a", "b"], image_size=64, multi_label=True, dropout=0.2, columns={"image": "file"})
    assert ImageClassification(**made.get_config()).get_config() == made.get_config()
