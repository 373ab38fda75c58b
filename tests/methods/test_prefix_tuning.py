import keras
import numpy as np
import pytest

from kerasft import deltas, weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner

LABELS = ["good", "bad"]


def tuner_of(pretrained, length=3):
    return FineTuner("text_classification", pretrained, {"name": "prefix_tuning", "length": length}, labels=LABELS)


def test_the_keys_and_values_are_those_in_front(tiny_bert):
    tuner = tuner_of(tiny_bert)
    packed = tuner.preprocessor(np.array(["a good plot", "bad"]))
    layer, delta = next(
        (layer, d) for layer, d in deltas.of(tuner.model) if layer.path.endswith("layer_0/self_attention_layer/key")
    )
    hidden = np.random.default_rng(0).normal(size=(2, 7, 16)).astype("float32")
    keys = np.array(layer(hidden))
    np.testing.assert_array_equal(keys[:, :3], np.stack([delta.vectors.numpy()] * 2))
    expected = np.einsum("abc,cde->abde", hidden, layer.kernel.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(keys[:, 3:], expected[:, 3:], atol=1e-5)
    assert packed["token_ids"].shape == (2, 3 + 5)


def test_what_learns(tiny_bert):
    learned = set(weights.learned(tuner_of(tiny_bert).model))
    names = {
        f"transformer_layer_{i}/self_attention_layer/{name}/prefix/vectors" for i in (0, 1) for name in ("key", "value")
    }
    assert learned == names | {"head/logits/kernel", "head/logits/bias"}


def test_what_stands_in_front_does_not_matter(tiny_bert):
    """No layer reads the tokens in front: of their places it sees only the prefix."""
    tuner = tuner_of(tiny_bert)
    packed = {name: np.array(value) for name, value in tuner.preprocessor(np.array(["a good plot"])).items()}
    tokens = tuner.model.get_layer("transformer_layer_1").output
    states = keras.Model(tuner.model.input, tokens)
    before = np.array(states(packed))
    packed["token_ids"][:, :3] = 7
    after = np.array(states(packed))
    np.testing.assert_allclose(after[:, 3:], before[:, 3:], atol=1e-6)
    assert np.abs(after[:, :3] - before[:, :3]).max() > 1e-3


def test_arguments_out_of_range():
    with pytest.raises(UserError, match="length=0"):
        tuner_of("no", length=0)
