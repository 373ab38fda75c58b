import dataclasses
import json
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.presets import applications, base, starter
from kerasft.presets import keras_hub as source
from kerasft.presets._smollm2 import SmolLM2Backbone, SmolLM2Tokenizer

TEXTS = ["the Film was  good !", "", "Déjà vu"]


def llama(backbone_class):
    vocabulary = {
        token: i for i, token in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "ab"])
    }
    backbone = backbone_class(
        vocabulary_size=len(vocabulary),
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
        layer_norm_epsilon=1e-3,
        tie_word_embeddings=True,
    )
    return base.Pretrained("tiny", backbone, "text", SmolLM2Tokenizer(vocabulary, ["a b"]), causal=True)


@pytest.fixture(params=["bert", "exact_bert", "gpt2", "llama", "smollm2", "efficientnet", "applications"])
def pretrained(request):
    """One of each kind of backbone and converter, tiny or at least random."""
    if request.param in ("bert", "gpt2", "efficientnet"):
        return request.getfixturevalue(f"tiny_{request.param}")
    if request.param == "exact_bert":
        return source.load(str(request.getfixturevalue("hugging_face_bert")))
    if request.param == "applications":
        return applications.load("mobilenetv3small", weights=False)
    return llama(SmolLM2Backbone if request.param == "smollm2" else keras_hub.models.LlamaBackbone)


def convert(pretrained):
    if pretrained.modality == "text":
        tokens = pretrained.converter(TEXTS)
        return tokens if isinstance(tokens, list) else tokens.to_list()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3)).astype("float32")
    return np.asarray(pretrained.converter(pixels)).tolist()


def outputs(backbone):
    if isinstance(backbone.input, dict):
        inputs = {name: np.ones((1, 4), "int32") for name in backbone.input}
    else:
        inputs = np.ones((1, *base.image_size_of(backbone), 3), "float32")
    return [np.asarray(output) for output in keras.tree.flatten(backbone(inputs))]


def test_an_architecture_comes_back_without_the_preset(pretrained, tmp_path):
    base.write_architecture(pretrained, tmp_path / "architecture")
    again = base.read_architecture(tmp_path / "architecture")
    for field in ("name", "modality", "causal"):
        assert getattr(again, field) == getattr(pretrained, field)
    assert type(again.backbone) is type(pretrained.backbone)
    assert type(again.converter) is type(pretrained.converter)
    assert convert(again) == convert(pretrained)
    # A delta is kept by path.
    shapes = [(weight.path, weight.shape) for weight in pretrained.backbone.weights]
    assert [(weight.path, weight.shape) for weight in again.backbone.weights] == shapes
    again.backbone.set_weights(pretrained.backbone.get_weights())
    for new, old in zip(outputs(again.backbone), outputs(pretrained.backbone), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_an_architecture_is_found_by_a_process_that_has_imported_nothing(hugging_face_bert, tmp_path):
    pretrained = source.load(str(hugging_face_bert))
    base.write_architecture(pretrained, tmp_path)
    program = (
        "import sys; from kerasft.presets import base; found = base.read_architecture(sys.argv[1]); "
        "print(type(found.backbone).__name__, found.converter('Déjà').numpy().tolist())"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert result.stdout == f"ExactBertBackbone {pretrained.converter('Déjà').numpy().tolist()}\n"


def test_a_damaged_architecture_is_told(tiny_bert, tmp_path):
    with pytest.raises(UserError, match="does not describe a model.*Received"):
        base.read_architecture(tmp_path / "nowhere")
    base.write_architecture(tiny_bert, tmp_path)
    path = tmp_path / "architecture.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match="architecture.json: not JSON.*Received"):
        base.read_architecture(tmp_path)
    path.write_text("{}")
    with pytest.raises(UserError, match="does not describe a model: it holds name, modality.*Received"):
        base.read_architecture(tmp_path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            {"class_name": "Nothing", "config": {}, "registered_name": "x>Nothing"},
            "only classes of keras.*: x>Nothing",
        ),
        (
            {"class_name": "Nothing", "config": {}, "registered_name": "kerasft>Nothing"},
            "Could not locate class.*",
        ),
        ({"class_name": "Popen", "module": "subprocess", "config": {}}, "only modules of Keras.*: subprocess"),
    ],
)
def test_a_class_that_is_not_there_or_not_allowed_is_told(tiny_bert, tmp_path, named, message):
    base.write_architecture(tiny_bert, tmp_path)
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone": named}))
    with pytest.raises(UserError, match=message):
        base.read_architecture(tmp_path)


def test_resolve_returns_what_is_pretrained_already(tiny_bert):
    assert base.resolve(tiny_bert) is tiny_bert


def test_resolve_takes_the_source_before_the_colon(tiny_bert, monkeypatch, tmp_path):
    asked = []
    for plugin in (starter, applications, source):
        name = plugin.__name__.rpartition(".")[2]
        monkeypatch.setattr(plugin, "load", lambda rest, name=name: asked.append((name, rest)))
    for identifier in ("starter:x", "applications:y", "z", "kaggle://a/b/keras/c", "hf://a/b", "./dir:x", tmp_path):
        base.resolve(identifier)
    assert asked == [
        ("starter", "x"),
        ("applications", "y"),
        ("keras_hub", "z"),
        ("keras_hub", "kaggle://a/b/keras/c"),
        ("keras_hub", "hf://a/b"),
        ("keras_hub", "./dir:x"),
        ("keras_hub", str(tmp_path)),
    ]


@pytest.mark.parametrize(
    ("identifier", "nearest"),
    [
        ("bert_base_en_uncase", "bert_base_en_uncased"),
        ("smollm2_135m_instruct", "starter:smollm2_135m_instruct"),
        ("applications:ResNet51", "applications:resnet50"),
        ("keras_cv:resnet50_imagnet", "keras_cv:resnet50_imagenet"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_of_all_sources(identifier, nearest):
    with pytest.raises(UserError, match=f"Did you mean '{nearest}'.*Received: backbone='{identifier}'"):
        base.resolve(identifier)


def test_the_size_of_an_image_in_a_dict():
    image = keras.Input((16, 24, 3), name="images")
    assert base.image_size_of(keras.Model({"images": image}, keras.layers.Conv2D(2, 3)(image))) == (16, 24)


def test_a_model_of_grey_images_is_refused():
    image = keras.Input((28, 28, 1))
    with pytest.raises(UserError, match=r"3 channels. Received: the input \(None, 28, 28, 1\) of grey"):
        base.resolve(keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="grey"))


def test_resolve_takes_a_bare_image_backbone(tiny_efficientnet):
    pretrained = base.resolve(tiny_efficientnet.backbone)
    pixels = np.full((1, 32, 32, 3), 200.0, "float32")
    np.testing.assert_array_equal(pretrained.converter(pixels), pixels)
    assert (pretrained.modality, pretrained.converter.image_size) == ("image", (32, 32))
    pixels = keras.Input((None, None, 3))
    free = keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels))
    assert base.resolve(free).converter.image_size == (224, 224)


def test_resolve_asks_for_a_tokenizer_and_refuses_the_rest(tiny_bert):
    with pytest.raises(UserError, match="needs its tokenizer: backbone=Pretrained"):
        base.resolve(tiny_bert.backbone)
    with pytest.raises(UserError, match="must be a name, a folder.*Received: 3"):
        base.resolve(3)
    with pytest.raises(UserError, match="a functional model. Received: <Sequential"):
        base.resolve(keras.Sequential([keras.layers.Dense(2)]))
    sound = keras.Input((None, 80))
    sound = keras.Model(sound, keras.layers.Dense(2)(sound))
    with pytest.raises(UserError, match="must read text.*or images"):
        base.resolve(sound)


def test_entries_need_no_keras():
    program = (
        "import sys; from kerasft.presets import base; found = base.entries(); "
        "assert not {'keras', 'tensorflow', 'keras_hub'} & set(sys.modules); "
        "print(len(found))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(result.stdout) > 400


def test_entries_are_found_by_a_word():
    names = {entry.name for entry in base.entries("ResNet50")}
    assert {"applications:resnet50", "keras_cv:resnet50_imagenet"} <= names
    assert {entry.kind for entry in base.entries("text decoder")} == {"text decoder"}
    everything = [entry.name for entry in base.entries()]
    assert len(everything) == len(set(everything))
    assert all(dataclasses.is_dataclass(entry) for entry in base.entries("starter"))
