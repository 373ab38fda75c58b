import keras
import pytest

from kerasft.errors import UserError
from kerasft.schedules import Constant


def test_it_is_constant():
    schedule = Constant(2e-5, total_steps=10)
    assert [float(schedule(step)) for step in (0, 1, 5, 10, 99)] == [pytest.approx(2e-5)] * 5


def test_warmup():
    schedule = Constant(1.0, total_steps=10, warmup=0.4)
    assert [float(schedule(step)) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_config_round_trip():
    made = Constant(1e-3, 10, 0.3)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(made))
    assert type(again) is Constant
    assert again.get_config() == made.get_config()


def test_a_warmup_that_is_no_share_is_refused():
    with pytest.raises(UserError, match="warmup=100"):
        Constant(1.0, 10, 100)
