import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.losses import next_token
from kerasft.losses.next_token import NextToken

VOCABULARY, WIDTH = 11, 5


def layer(**arguments):
    made = keras.layers.ReversibleEmbedding(VOCABULARY, WIDTH, **arguments)
    made.build()
    for number, weight in enumerate(made.weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    return made


def batch(rows=3, length=7):
    random = np.random.default_rng(0)
    targets = random.integers(-1, VOCABULARY, (rows, length))
    targets[0, :3] = -1
    return tf.constant(targets, tf.int32), tf.constant(random.normal(size=(rows, length, WIDTH)), tf.float32)


def plain(embedding, targets, features):
    logits = tf.cast(embedding(features, reverse=True), "float32")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(targets, 0), logits)
    return tf.where(targets >= 0, losses, 0.0)


@pytest.mark.parametrize("arguments", [{}, {"tie_weights": False}, {"logit_soft_cap": 2.0}])
@pytest.mark.parametrize("most", [0, 4, 1000])
def test_losses_and_gradients_are_those_of_all_logits_at_once(arguments, most, monkeypatch):
    monkeypatch.setattr(next_token, "NUMBERS", most * VOCABULARY)
    embedding = layer(**arguments)
    targets, features = batch()
    kernel, scale = embedding.weights[-1].value, tf.range(21.0)
    found = []
    for function in (NextToken(embedding).call, lambda *given: plain(embedding, *given)):
        with tf.GradientTape() as tape:
            tape.watch(features)
            losses = function(targets, features)
            total = tf.reduce_sum(tf.reshape(losses, [-1]) * scale)
        found.append([losses, *tape.gradient(total, [features, kernel])])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_it_says_which_are_right():
    embedding = layer()
    targets, features = batch()
    at = tf.where(targets >= 0)
    losses, is_right = NextToken(embedding).scored(tf.gather_nd(features, at), tf.gather_nd(targets, at))
    likeliest = tf.argmax(embedding(features, reverse=True), -1, "int32")
    np.testing.assert_array_equal(is_right, tf.gather_nd(likeliest == targets, at))
    assert losses.shape == is_right.shape == (len(at),)


@pytest.mark.parametrize("arguments", [{}, {"tie_weights": False}])
def test_the_vectors_of_tokens_make_their_logits(arguments):
    embedding, (_, features) = layer(**arguments), batch()
    found = tf.matmul(features[0], NextToken(embedding).vectors([4, 0]), transpose_b=True)
    np.testing.assert_allclose(found, tf.gather(embedding(features[0], reverse=True), [4, 0], axis=1), rtol=1e-5)


def test_no_position_counts():
    targets, features = batch()
    with tf.GradientTape() as tape:
        tape.watch(features)
        losses = NextToken(layer()).call(tf.fill(targets.shape, -1), features)
    assert not np.any(losses) and not np.any(tape.gradient(losses, features))


def test_frozen_embeddings_have_no_gradient():
    embedding = layer()
    embedding.trainable = False
    targets, features = batch()
    with tf.GradientTape() as tape:
        tape.watch([features, embedding.embeddings.value])
        losses = NextToken(embedding).call(targets, features)
    to_features, to_kernel = tape.gradient(losses, [features, embedding.embeddings.value])
    assert np.any(to_features) and to_kernel is None


def test_in_a_graph_with_half_precision():
    embedding = layer(dtype="mixed_bfloat16")
    loss = tf.function(NextToken(embedding).call, autograph=False)
    targets, features = batch()
    np.testing.assert_allclose(loss(targets, features), plain(embedding, targets, features), atol=0.2)
