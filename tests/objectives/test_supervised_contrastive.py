import types

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import SupervisedContrastive
from kerasft.objectives.supervised_contrastive import contrast
from kerasft.taps import tap


def formula(vectors, labels, temperature):
    """Equation 2 of Khosla et al., pair by pair."""
    rows = []
    for i, anchor in enumerate(vectors):
        others = [a for a in range(len(vectors)) if a != i]
        total = sum(np.exp(anchor @ vectors[a] / temperature) for a in others)
        like = [a for a in others if labels[a] == labels[i]]
        terms = [-np.log(np.exp(anchor @ vectors[p] / temperature) / total) for p in like]
        rows.append(sum(terms) / len(like) if like else 0.0)
    return np.array(rows)


def unit(rows, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, 4))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 2, 1], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0]])
def test_it_is_the_formula(labels):
    vectors = unit(6)
    found = contrast(tf.constant(vectors, tf.float32), tf.constant(labels), 0.3)
    np.testing.assert_allclose(found, formula(vectors, labels, 0.3), rtol=1e-5, atol=1e-6)


def test_its_gradient_is_that_of_the_formula():
    labels, vectors = [0, 1, 1, 0], unit(4)
    given = tf.constant(vectors, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        total = tf.reduce_sum(contrast(given, tf.constant(labels), 0.5))
    found, step = tape.gradient(total, given).numpy(), 1e-6
    for place in np.ndindex(vectors.shape):
        moved = [vectors.copy() for _ in "+-"]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (formula(values, labels, 0.5).sum() for values in moved)
        assert found[place] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-4)


def test_the_term_is_that_of_the_pooled_vectors(make_model, step, batch):
    model = make_model(SupervisedContrastive(temperature=0.5, weight=2.0))
    with tap(model.head.dropout).reading() as pooled:
        model(batch.texts, training=True)
    vectors = pooled[0].numpy() / np.linalg.norm(pooled[0].numpy(), axis=1, keepdims=True)
    logs, _ = step(model, batch.texts, batch.targets)
    expected = 2.0 * formula(vectors, batch.targets, 0.5).mean()
    assert logs["supervised_contrastive"] == pytest.approx(expected, rel=1e-3)


def test_several_labels_are_refused():
    task = types.SimpleNamespace(targets=lambda frame: np.zeros((4, 2)))
    with pytest.raises(UserError, match="needs one label a row"):
        SupervisedContrastive().prepare(types.SimpleNamespace(task=task), None)


@pytest.mark.parametrize(
    ("arguments", "part"), [({"temperature": 0}, "temperature must be"), ({"weight": -1}, "weight")]
)
def test_arguments_out_of_range_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        SupervisedContrastive(**arguments)
