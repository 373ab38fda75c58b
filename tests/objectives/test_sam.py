import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import LabelSmoothing, Sam
from kerasft.steps import Step


def test_the_gradient_is_that_at_the_top_of_the_slope(make_model, step, batch):
    rho = 0.3
    _, here = step(make_model(), batch.texts, batch.targets)
    length = np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in here))
    above = make_model()
    for weight, slope in zip(above.trainable_weights, here, strict=True):
        weight.assign(weight.numpy() + rho * slope / length)
    expected, wanted = step(above, batch.texts, batch.targets)
    plain, _ = step(make_model(), batch.texts, batch.targets)

    logs, found = step(make_model(Sam(rho)), batch.texts, batch.targets)
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)
    assert logs["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert logs["sam"] == pytest.approx(expected["loss"] - plain["loss"], rel=1e-3) and logs["sam"] > 0


def test_it_is_for_the_loss_that_other_objectives_change(make_model, step, batch):
    logs, _ = step(make_model(Sam(0.3), LabelSmoothing(0.5)), batch.texts, batch.targets)
    plain, _ = step(make_model(LabelSmoothing(0.5)), batch.texts, batch.targets)
    assert logs["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert logs["label_smoothing"] == pytest.approx(plain["label_smoothing"], rel=1e-5)


def stepped(gradients):
    """Returns the step of a model of two weights whose gradients are these."""
    weights = [keras.Variable(np.ones(2, "float32")) for _ in gradients]
    model = types.SimpleNamespace(trainable_variables=weights)

    def compute(values=None):
        loss = tf.add_n([tf.reduce_sum(v) for v in values or [weight.value for weight in weights]])
        return Step(loss, None, {}, gradients, [])

    return Sam(0.5).gradients(model, compute)


def test_a_weight_without_a_gradient_stays():
    step = stepped([tf.constant([3.0, 4.0]), None])
    assert step.gradients[1] is None
    assert float(step.terms["sam"]) == pytest.approx(0.5 * (0.6 + 0.8), rel=1e-5)


def test_a_gradient_that_overflows_leaves_no_term():
    step = stepped([tf.constant([float("inf"), 1.0]), tf.constant([1.0, 1.0])])
    assert float(step.terms["sam"]) == 0.0


@pytest.mark.parametrize("rho", [0, -0.1])
def test_a_step_of_no_length_is_refused(rho):
    with pytest.raises(UserError, match=f"sam: rho must be above 0. Received: rho={rho}"):
        Sam(rho)
