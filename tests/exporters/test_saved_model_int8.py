"""Exports with weights in 8 bits."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from benchmarks.export_parity import fresh_answers
from kerasft.exporters import saved_model_int8
from kerasft.presets.base import Pretrained

TEXTS = ["a very good film , i love it !", "The plot is BAD .", "unheard-of words", "the " * 300]


@pytest.fixture(autouse=True)
def small_weights_too(monkeypatch):
    monkeypatch.setattr(saved_model_int8, "LEAST", 64)


def wide(make_tiny):
    """Returns a BERT whose embeddings have rows of one block of 64."""
    tiny = make_tiny("bert")
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        tiny.converter.vocabulary_size(), num_layers=2, num_heads=2, hidden_dim=64, intermediate_dim=128
    )
    return Pretrained("wide", backbone, "text", tiny.converter)


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("variables/*.data*"))


def made(tuner, samples, tmp_path):
    """Exports in both formats and returns predictions before and after, both folders, and what a new process answers.

    The last is `{loader: {output: array}}` of the export in 8 bits.
    """
    tuner.samples = tuner.task.frame_of(samples)
    before = tuner.predict(samples)
    large, small = tmp_path / "large" / "1", tmp_path / "small" / "1"
    tuner.export(large)
    tuner.export(small, format="saved_model_int8")
    (answers,) = fresh_answers([(small, tuner.task.request(tuner.samples))])
    return before, tuner.predict(samples), large, small, answers


@pytest.mark.parametrize(
    "method",
    ["full", *(pytest.param(m, marks=pytest.mark.slow) for m in ("lora", {"name": "qlora"}))],
    ids=str,
)
def test_a_quarter_of_the_room_and_nearly_the_same_answers(make_tiny, capfd, tmp_path, method):
    tuner = kerasft.FineTuner("text_classification", wide(make_tiny), method=method, labels=["a", "b", "c"], seed=1)
    before, after, large, small, answers = made(tuner, TEXTS, tmp_path)
    np.testing.assert_array_equal(before["scores"], after["scores"])  # The model is as it was.
    assert size(small) < 0.45 * size(large)
    for found in answers.values():
        difference = np.abs(found["scores"] - before["scores"]).max()
        assert 0 < difference < 0.02
        assert found["label"].tolist() == before["label"].tolist()
    line = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("Beside float32"))
    assert "scores differs by at most 0.0" in line
    assert f"label is another in 0 of {len(TEXTS)}" in line


def test_another_number_of_spans_is_no_failure():
    before = {"label": tf.constant([["PER"], ["LOC"]]), "start": tf.constant([[3], [0]]), "score": tf.ones((2, 1))}
    after = {"label": tf.constant([["PER", ""], ["LOC", "LOC"]]), "start": tf.constant([[3, -1], [0, 9]])}
    line = saved_model_int8._difference(before, {**after, "score": tf.ones((2, 2))})
    assert line == "Beside float32, on the samples of the run: label is another in 1 of 2; start is another in 1 of 2."


def test_a_row_with_several_other_answers_counts_once():
    before, after = ({"answers": tf.constant([["a", "b", "c"], ["d", "e", last]])} for last in ("f", "g"))
    after["answers"] = tf.reverse(after["answers"], [1])
    assert "answers is another in 2 of 2." in saved_model_int8._difference(before, after)


@pytest.mark.parametrize("name", [pytest.param("efficientnet", marks=pytest.mark.slow), "vit"])
def test_images(make_tiny, png_images, tmp_path, name):
    tuner = kerasft.FineTuner("image_classification", make_tiny(name), labels=["dark", "light"])
    before, after, large, small, answers = made(tuner, png_images[0], tmp_path)
    np.testing.assert_array_equal(before["scores"], after["scores"])
    assert size(small) < size(large)
    for found in answers.values():
        np.testing.assert_allclose(found["scores"], before["scores"], atol=0.05)


def test_texts_that_are_written(make_tiny, tmp_path):
    tuner = kerasft.FineTuner("causal_lm", make_tiny("gpt2"), max_new_tokens=4)
    tuner.samples = tuner.task.frame_of(TEXTS[:3])
    before = tuner.predict(TEXTS[:3])["completion"].tolist()
    tuner.export(tmp_path / "1", format="saved_model_int8")
    assert tuner.predict(TEXTS[:3])["completion"].tolist() == before


def test_a_decoder_that_reads_its_embeddings_backwards(make_tiny, tmp_path):
    tiny = make_tiny("gpt2")
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.GPT2Backbone(
        tiny.converter.vocabulary_size(), num_layers=1, num_heads=2, hidden_dim=64, intermediate_dim=64
    )
    tuner = kerasft.FineTuner("causal_lm", Pretrained("wide", backbone, "text", tiny.converter, causal=True))
    tuner.samples = tuner.task.frame_of(TEXTS[:2])
    large, small = tmp_path / "large" / "1", tmp_path / "small" / "1"
    tuner.export(large)
    tuner.export(small, format="saved_model_int8")
    assert size(small) < 0.75 * size(large)


def test_small_weights_stay_as_they_are(make_tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(saved_model_int8, "LEAST", 10**9)
    tuner = kerasft.FineTuner("text_classification", make_tiny("bert"), labels=["a", "b"])
    before, _, large, small, answers = made(tuner, TEXTS, tmp_path)
    assert size(small) == size(large)
    for found in answers.values():
        np.testing.assert_allclose(found["scores"], before["scores"], atol=1e-6)
