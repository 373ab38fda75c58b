import keras
import keras_hub
import numpy as np
import pytest

from kerasft import hub_blocks


@pytest.fixture
def encoder(tiny_bert):
    return tiny_bert.backbone.get_layer("transformer_layer_0")


def test_the_activation_of_an_encoder_is_replaced(encoder):
    tokens, mask = np.random.default_rng(0).normal(size=(1, 3, 16)).astype("float32"), np.ones((1, 3))
    before = encoder(tokens, padding_mask=mask)
    hub_blocks.set_feed_forward_activation(encoder, keras.activations.relu)
    assert not np.allclose(before, encoder(tokens, padding_mask=mask), atol=1e-4)


@pytest.mark.parametrize("normalize_first", [True, False])
def test_the_first_token_alone_is_as_it_is_among_others(normalize_first):
    encoder = keras_hub.layers.TransformerEncoder(32, 2, normalize_first=normalize_first)
    tokens, mask = (
        np.random.default_rng(0).normal(size=(2, 5, 16)).astype("float32"),
        np.array([[1] * 5, [1, 1, 1, 0, 0]]),
    )
    whole = encoder(tokens, padding_mask=mask)
    first = hub_blocks.encode_first_token(encoder, tokens, mask, training=False)
    np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)


def test_blocks_that_tell_tokens_apart_otherwise_have_no_rotary_attention(encoder):
    assert hub_blocks.rotary_attention(encoder) is None
    assert hub_blocks.rotary_attention(keras.layers.Dense(3)) is None
