import types

import keras
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.objectives import ClassBalanced


def tuner_of(targets, classes=3):
    task = types.SimpleNamespace(targets=lambda frame: np.array(targets), num_classes=classes)
    return types.SimpleNamespace(task=task)


def test_weights_are_those_of_the_formula():
    objective = ClassBalanced(0.9)
    objective.prepare(tuner_of([0] * 10 + [1] * 5 + [2]), None)
    expected = np.array([0.1 / (1 - 0.9**n) for n in (10, 5, 1)])
    np.testing.assert_allclose(objective.weights, expected * 3 / expected.sum(), rtol=1e-6)


def test_each_row_counts_as_its_class_does(make_model, step, batch):
    objective = ClassBalanced(0.9)
    objective.prepare(tuner_of([0] * 10 + [1] * 5 + [2]), None)
    model = make_model(objective)
    rows = keras.losses.sparse_categorical_crossentropy(batch.targets, model(batch.texts), from_logits=True).numpy()
    logs, _ = step(model, batch.texts, batch.targets)
    assert logs["loss"] == pytest.approx((objective.weights[batch.targets] * rows).mean(), rel=1e-5)


def test_beta_0_weighs_all_alike_and_near_1_by_the_inverse_count():
    even, inverse = ClassBalanced(0.0), ClassBalanced(1 - 1e-9)
    for objective in (even, inverse):
        objective.prepare(tuner_of([0] * 4 + [1] * 2 + [2] * 8), None)
    np.testing.assert_allclose(even.weights, [1, 1, 1])
    np.testing.assert_allclose(inverse.weights / inverse.weights[0], [1, 2, 0.5], rtol=1e-4)


def test_a_class_without_examples_has_a_finite_weight():
    objective = ClassBalanced()
    objective.prepare(tuner_of([0, 0, 1]), None)
    assert np.isfinite(objective.weights).all()
    assert objective.weights[:2].mean() == pytest.approx(1)  # It does not weigh with the others.


@pytest.mark.parametrize("beta", [-0.1, 1, 1.5])
def test_a_beta_out_of_range_is_refused(beta):
    with pytest.raises(UserError, match=f"class_balanced: beta must be .*Received: beta={beta}"):
        ClassBalanced(beta)


def test_several_labels_a_row_are_refused():
    with pytest.raises(UserError, match="class_balanced needs one label a row"):
        ClassBalanced().prepare(tuner_of([[0, 1], [1, 1]]), None)
