import keras
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.schedules import Linear


def values(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def transformers_linear(step, peak, warmup_steps, total_steps):
    """The formula of `transformers.get_linear_schedule_with_warmup`, for the update after `step` others."""
    if step < warmup_steps:
        return peak * step / max(1, warmup_steps)
    return peak * max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def test_chosen_steps():
    schedule = Linear(1.0, total_steps=20, warmup=0.2)
    expected = {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 12: 0.5, 19: 1 / 16, 20: 0.0, 25: 0.0}
    for step, value in expected.items():
        assert float(schedule(step)) == pytest.approx(value), step


def test_it_has_the_shape_of_transformers():
    """One step ahead while warming up, so that the first update is not lost on a learning rate of 0; then equal."""
    found = values(Linear(3e-4, total_steps=100, warmup=0.1), 101)
    np.testing.assert_allclose(found[:9], [transformers_linear(s + 1, 3e-4, 10, 100) for s in range(9)], rtol=1e-5)
    np.testing.assert_allclose(found[10:], [transformers_linear(s, 3e-4, 10, 100) for s in range(10, 101)], rtol=1e-5)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_short_runs_have_a_rate_above_0_at_every_update(total, warmup):
    found = values(Linear(1.0, total, warmup), total)
    assert (found > 0).all()
    assert found.max() <= 1
    assert found[0] == pytest.approx(1 / max(1, warmup * total))


def test_config_round_trip():
    made = Linear(1e-3, 10, 0.3)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(made))
    assert type(again) is Linear
    assert again.get_config() == made.get_config()


@pytest.mark.parametrize("warmup", [-0.1, 1.5, 500, "long"])
def test_a_warmup_that_is_no_share_is_refused(warmup):
    with pytest.raises(UserError, match=r"share of the steps, 0 to 1. Received: warmup="):
        Linear(1.0, 10, warmup)
