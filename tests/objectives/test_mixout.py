import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import Mixout, Sam
from kerasft.objectives._starts import backbone_weights
from kerasft.steps import Step


def masks(model, rate):
    """Returns what the objective draws in the first step, by the number of the weight."""
    chosen = {id(weight) for weight in backbone_weights(model)}
    numbers = [n for n, weight in enumerate(model.trainable_weights) if id(weight) in chosen]
    drawn = {
        n: tf.random.stateless_uniform(model.trainable_weights[n].shape, model.step_seed(f"mixout {n}"))
        for n in numbers
    }
    return {n: (values.numpy() >= rate).astype("float32") for n, values in drawn.items()}


def test_value_and_gradient_are_those_of_the_formula(make_model, step, batch):
    rate, random = 0.4, np.random.default_rng(0)
    objective = Mixout(rate)
    model = make_model(objective)
    starts = [weight.numpy().copy() for weight in model.trainable_weights]
    for weight in model.trainable_weights:  # As after some steps.
        weight.assign(weight.numpy() + random.normal(0, 0.1, weight.shape))
    kept = masks(model, rate)
    plain = make_model()
    for n, weight in enumerate(plain.trainable_weights):
        now = model.trainable_weights[n].numpy()
        mask = kept.get(n)
        mixed = now if mask is None else (mask * now + (1 - mask) * starts[n] - rate * starts[n]) / (1 - rate)
        weight.assign(mixed)
    expected, wanted = step(plain, batch.texts, batch.targets)
    logs, found = step(model, batch.texts, batch.targets)
    assert logs == {"loss": pytest.approx(expected["loss"], rel=1e-4)}
    for n, (one, two) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(one, two * kept[n] / (1 - rate) if n in kept else two, atol=3e-5)


def test_at_the_start_it_drops_gradients_only(make_model, step, batch):
    logs, found = step(make_model(Mixout(0.5)), batch.texts, batch.targets)
    plain, _ = step(make_model(), batch.texts, batch.targets)
    assert logs["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert np.mean(found[-4] == 0) == pytest.approx(0.5, abs=0.2)


def test_masks_differ_from_step_to_step(make_model, step, batch):
    model = make_model(Mixout(0.5))
    before = masks(model, 0.5)
    step(model, batch.texts, batch.targets)
    assert any(not np.array_equal(before[n], mask) for n, mask in masks(model, 0.5).items())


def test_it_goes_with_sam(make_model, step, batch):
    logs, _ = step(make_model(Mixout(0.5), Sam(0.1)), batch.texts, batch.targets)
    assert logs["sam"] > 0


def test_a_weight_without_a_gradient_has_none(make_model):
    model = make_model(Mixout(0.5))
    (objective,) = model.objectives
    step = objective.gradients(model, lambda values: Step(0.0, None, {}, [None] * len(values), []))
    assert set(step.gradients) == {None}


@pytest.mark.parametrize("rate", [-0.1, 1, 2])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(UserError, match=f"mixout: rate must be .*Received: rate={rate}"):
        Mixout(rate)
