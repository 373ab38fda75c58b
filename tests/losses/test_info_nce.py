import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.losses.info_nce import InfoNce


def normal(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(12, 6)).astype("float32")


def expected(texts, candidates, temperature):
    logits = normal(texts) @ normal(candidates).T / temperature
    rows = np.arange(len(texts))
    return np.log(np.exp(logits).sum(1)) - logits[rows, rows]


def test_it_is_the_cross_entropy_among_the_partners_of_the_batch(vectors):
    loss = InfoNce(temperature=0.2, reduction=None)(np.arange(6)[:, None], vectors)
    np.testing.assert_allclose(loss, expected(vectors[:6], vectors[6:], 0.2), rtol=1e-5)


def test_hard_negatives_are_further_candidates(vectors):
    targets = np.stack([np.arange(4), 4 + np.arange(4)], 1)
    loss = InfoNce(temperature=0.2, reduction=None)(targets, vectors)
    np.testing.assert_allclose(loss, expected(vectors[:4], vectors[4:], 0.2), rtol=1e-5)


def test_equal_partners_are_not_wrong(vectors):
    both = InfoNce(reduction=None)(np.array([[0], [1], [1]]), np.concatenate([vectors[:3], vectors[6:9]]))
    alone = InfoNce(reduction=None)(np.array([[0], [1]]), np.concatenate([vectors[:2], vectors[6:8]]))
    np.testing.assert_allclose(both[1], alone[1], rtol=1e-5)


def test_a_hard_negative_that_is_the_partner_of_another_is_not_wrong_for_it(vectors):
    vectors = np.concatenate([vectors[:2], vectors[4:6], vectors[5:6], vectors[7:8]])
    loss = InfoNce(reduction=None)(np.array([[0, 1], [1, 2]]), vectors)
    candidates = vectors[[3, 2, 5]]  # Its own partner, that of the first text and its own negative.
    logits = normal(vectors[1:2]) @ normal(candidates).T / 0.05
    np.testing.assert_allclose(loss[1], np.log(np.exp(logits - logits[0, 0]).sum()), rtol=1e-4)


def test_cut_vectors_count_as_the_whole_ones(vectors):
    targets = np.arange(6)[:, None]
    both = InfoNce(sizes=[None, 2])(targets, vectors)
    np.testing.assert_allclose(both, (InfoNce()(targets, vectors) + InfoNce()(targets, vectors[:, :2])) / 2, rtol=1e-5)


def test_its_gradient_is_finite_where_all_are_the_same():
    vectors = tf.ones((8, 3))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        loss = InfoNce()(tf.zeros((4, 1), tf.int32), vectors)
    assert float(loss) == pytest.approx(0, abs=1e-6) and np.isfinite(tape.gradient(loss, vectors)).all()


def test_it_is_made_again_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(InfoNce(0.1, [None, 2])))
    assert (again.temperature, again.sizes) == (0.1, [None, 2])
