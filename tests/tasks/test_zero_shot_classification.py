import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.tasks.zero_shot_classification import NOTHING, ZeroShotClassification

LABELS = {"labels": ["positive", "negative"], "descriptions": {"positive": "great", "negative": "bad"}}
NAME = "zero_shot_classification"


def test_a_text_has_the_label_whose_description_it_is(make_tiny):
    tuner = FineTuner(NAME, make_tiny("bert"), template="a {} film", calibrate=False, **LABELS)
    answers = tuner.predict(["a great film", "a bad film"])
    assert answers["label"].tolist() == [b"positive", b"negative"]
    logits = tuner.outputs(tuner.task.prepare(tuner.task.frame_of(["a great film", "a bad film"]), with_targets=False))
    np.testing.assert_allclose(np.diag(logits), [20, 20], rtol=1e-5)


def test_texts_without_meaning_favour_no_label(make_tiny):
    tuner = FineTuner(NAME, make_tiny("bert"), **LABELS)
    logits = tuner.model.head.scale * np.array([1.0])  # The model is made here.
    outputs = np.concatenate([tuner.model(tuner.preprocessor(tf.constant([text]))) for text in NOTHING])
    assert logits.size and np.abs(outputs.mean(axis=0)).max() < 1e-4


@pytest.mark.parametrize("method", ["full", "linear_probe", "lora", "prompt_tuning"])
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


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, "needs labels"),
        ({"labels": ["a", "b"], "descriptions": {"c": "d"}}, "descriptions must be of labels: a, b. Received: 'c'"),
        ({"labels": ["a", "b"], "template": "film"}, "template must hold {} once"),
        ({"labels": ["a", "b"], "scale": 0}, "scale must be"),
        ({"labels": ["a", "b"], "pair": True}, "reads one text"),
    ],
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        ZeroShotClassification(**arguments)
