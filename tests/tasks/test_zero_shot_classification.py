import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.tasks.zero_shot_classification import NOTHING, ZeroShotClassification
from tests import families

LABELS = {"labels": ["positive", "negative"], "descriptions": {"positive": "great", "negative": "bad"}}
NAME = "zero_shot_classification"


def test_a_text_has_the_label_whose_description_it_is(make_tiny):
    tuner = FineTuner(NAME, make_tiny("bert"), template="a {} film", calibrate=False, **LABELS)
    answers = tuner.predict(["a great film", "a bad film"])
    assert answers["label"].tolist() == [b"positive", b"negative"]
    logits = tuner.outputs(tuner.task.prepare(tuner.task.frame_of(["a great film", "a bad film"]), with_targets=False))
    np.testing.assert_allclose(np.diag(logits), [20, 20], rtol=1e-5)


def test_a_template_may_have_other_braces(make_tiny):
    tuner = FineTuner(NAME, make_tiny("bert"), template='{"film": "{}"}', **LABELS)
    assert tuner.task._described() == ['{"film": "great"}', '{"film": "bad"}']
    assert tuner.predict(["a film"])["label"].shape == (1,)


def test_labels_that_are_numbers_are_described():
    task = ZeroShotClassification(labels=[0, 1], descriptions={0: "bad", 1: "great"})
    assert task._described() == ["bad", "great"]
    assert ZeroShotClassification(**task.get_config()).get_config() == task.get_config()


def test_texts_without_meaning_favour_no_label(make_tiny):
    tuner = FineTuner(NAME, make_tiny("bert"), **LABELS)
    logits = tuner.model.head.scale * np.array([1.0])  # The model is made here.
    outputs = np.concatenate([tuner.model(tuner.preprocessor(tf.constant([text]))) for text in NOTHING])
    assert logits.size and np.abs(outputs.mean(axis=0)).max() < 1e-4


@pytest.mark.parametrize("family", ["gpt2", "smollm3", pytest.param("llama", marks=pytest.mark.slow)])
def test_a_decoder_is_asked(family):
    """The score of a label is that of the token which its answer begins with, as the next one."""
    tuner = FineTuner(NAME, families.make(family), prompt="see {} . so", calibrate=False, precision="float32", **LABELS)
    texts = ["a great film", "bad"]
    logits = tuner.outputs(tuner.task.prepare(tuner.task.frame_of(texts), with_targets=False))
    backbone, tokenizer = tuner.pretrained.backbone, tuner.pretrained.converter
    answers = ["great", "bad"] if family == "smollm3" else [" great", " bad"]
    ids = [np.asarray(tokenizer(answer)).tolist() for answer in answers]
    lead = tuner.preprocessor.lead  # A blank is a token of its own to the tiny vocabulary of GPT-2.
    first = [row[len(lead)] for row in ids]
    assert lead == ids[1][: len(lead)] and (family != "gpt2" or len(lead) == 1)
    for text, found in zip(texts, logits, strict=True):
        inputs = tuner.preprocessor(tf.constant([text]))
        written = tokenizer.detokenize(inputs["token_ids"][0])
        assert "see" in str(written) and text in str(written)
        scores = backbone.token_embedding(backbone(inputs), reverse=True)[0, -1]
        np.testing.assert_allclose(found, tf.gather(scores, first), rtol=1e-4, atol=1e-4)


def test_a_long_text_leaves_room_for_the_prompt():
    tuner = FineTuner(NAME, families.make("smollm3"), prompt="see {} . so", sequence_length=40, **LABELS)
    ids = tuner.preprocessor(tf.constant(["film " * 50]))["token_ids"][0]
    assert len(ids) == 40
    written = str(tuner.pretrained.converter.detokenize(ids))
    assert "see" in written and ". so" in written and "assistant" in written


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_decoder_that_is_asked_learns_and_is_saved(make_tiny, reviews, tmp_path, method):
    tuner = FineTuner(NAME, make_tiny("gpt2"), method, learning_rate=1e-2, prompt="{} It was", **LABELS)
    outputs = np.concatenate([tuner.model(tuner.preprocessor(tf.constant([text]))) for text in NOTHING])
    assert np.abs(outputs.mean(axis=0)).max() < 1e-4
    before = tuner.evaluate(reviews)["log_loss"].value
    tuner.fit(reviews, epochs=8, batch_size=8, directory=tmp_path / "run")
    assert tuner.evaluate(reviews)["log_loss"].value < before
    loaded, texts = kerasft.load(tmp_path / "run"), [row["text"] for row in reviews]
    assert loaded.task.prompt == "{} It was"
    np.testing.assert_allclose(loaded.predict(texts)["scores"], tuner.predict(texts)["scores"], atol=1e-5)
    tuner.export(str(tmp_path / "1"))


def test_answers_that_cannot_be_told_apart_are_refused(make_tiny):
    with pytest.raises(UserError, match="must differ in the first token .*Received: film, fun"):
        FineTuner(NAME, make_tiny("gpt2"), labels=["film", "good", "fun"], prompt="{}").predict(["a"])
    with pytest.raises(UserError, match="A prompt needs a decoder. Received: backbone='tiny_bert', an encoder"):
        FineTuner(NAME, make_tiny("bert"), prompt="{}", **LABELS).predict(["a"])


SLOWER = [pytest.param(method, marks=pytest.mark.slow) for method in ("full", "linear_probe", "prompt_tuning")]


@pytest.mark.parametrize("method", ["lora", *SLOWER])
def test_it_learns_from_examples_and_is_saved(make_tiny, reviews, tmp_path, method):
    tuner = FineTuner(NAME, make_tiny("bert"), method, learning_rate=1e-2, **LABELS)
    before = tuner.evaluate(reviews)["log_loss"].value
    tuner.fit(reviews, epochs=8, batch_size=8, directory=tmp_path / "run")
    assert tuner.evaluate(reviews)["log_loss"].value < before
    loaded = kerasft.load(tmp_path / "run")
    texts = [row["text"] for row in reviews]
    np.testing.assert_allclose(loaded.predict(texts)["scores"], tuner.predict(texts)["scores"], atol=1e-5)
    tuner.export(str(tmp_path / "1"))


@pytest.mark.starter
def test_sentences_are_classified_without_examples():
    tuner = FineTuner(NAME, "starter:minilm_l6_en", labels=["sports", "politics", "food"], template="This is about {}.")
    texts = ["The goalkeeper saved two penalties.", "Parliament votes on the budget today.", "Add garlic and simmer."]
    assert tuner.predict(texts)["label"].tolist() == [b"sports", b"politics", b"food"]


@pytest.mark.starter
def test_a_chat_model_is_asked_without_examples():
    tuner = FineTuner(
        NAME,
        "starter:smollm2_135m_instruct",
        labels=["positive", "negative"],
        prompt="Is this sentence of a film review positive or negative?\n{}",
    )
    texts = ["A gorgeous, witty film that I loved.", "A dull, boring film. I hated every minute of it."]
    assert tuner.predict(texts)["label"].tolist() == [b"positive", b"negative"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, "needs labels"),
        ({"labels": ["a", "b"], "descriptions": {"c": "d"}}, "descriptions must be of labels: a, b. Received: 'c'"),
        (
            {"labels": ["a", "b"], "descriptions": ["x", "y"]},
            "must be a dict of labels to texts. Received: descriptions=",
        ),
        ({"labels": ["a", "b"], "descriptions": {"a": 1}}, "descriptions must be texts. Received: 1"),
        ({"labels": ["a", "b"], "template": "film"}, "template must hold {} once"),
        ({"labels": ["a", "b"], "prompt": "film"}, "prompt must hold {} once"),
        ({"labels": ["a", "b"], "scale": 0}, "scale must be"),
        ({"labels": ["a", "b"], "pair": True}, "reads one text"),
    ],
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        ZeroShotClassification(**arguments)
