import numpy as np
import pytest
import tensorflow as tf

from kerasft import deltas, weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner

LABELS = ["good", "bad"]


def tuner_of(pretrained, **arguments):
    method = {"name": "prompt_tuning", "length": 3, **arguments}
    return FineTuner("text_classification", pretrained, method, labels=LABELS)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_it_begins_as_if_the_text_began_with_these_words(make_tiny, name):
    plain = FineTuner("text_classification", make_tiny(name), labels=LABELS)
    tuner = tuner_of(make_tiny(name), text="the film the")
    packed = tuner.preprocessor(np.array(["a good plot"]))
    assert packed["token_ids"].shape[1] == plain.preprocessor(np.array(["a good plot"]))["token_ids"].shape[1] + 3
    ids = np.array(packed["token_ids"])
    ids[:, :3] = np.array(plain.preprocessor.tokenizer("the film the"))[:3]
    same = {**packed, "token_ids": tf.constant(ids)}
    np.testing.assert_allclose(tuner.model(packed), plain.model(same), atol=1e-5)


def test_the_vectors_alone_learn(tiny_bert):
    tuner = tuner_of(tiny_bert)
    assert set(weights.learned(tuner.model)) == {
        "token_embedding/prompt/vectors",
        "head/logits/kernel",
        "head/logits/bias",
    }
    assert dict(deltas.of(tuner.model)).popitem()[1].vectors.shape == (3, 16)


def test_no_room_for_the_text(tiny_bert):
    with pytest.raises(UserError, match="length=70"):
        tuner_of(tiny_bert, length=70).preprocessor  # noqa: B018


def test_images_are_refused(tiny_efficientnet):
    with pytest.raises(UserError, match="does not work with image"):
        FineTuner("image_classification", tiny_efficientnet, "prompt_tuning", labels=LABELS)


def test_arguments_out_of_range():
    with pytest.raises(UserError, match="length=0"):
        FineTuner("text_classification", "no", {"name": "prompt_tuning", "length": 0})
