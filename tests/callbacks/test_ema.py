import numpy as np
import pytest

from kerasft.callbacks import Ema
from kerasft.errors import UserError
from tests.callbacks.averages import Record, fit, make, values


@pytest.mark.parametrize("decay", [0.15, 0.999])
def test_it_is_the_recursion(decay):
    """Six steps with and without reaching `decay`; trained weights and the statistics of BatchNorm."""
    model, record = make(), Record()
    expected = [value.astype("float64") for value in values(model)]
    fit(model, Ema(decay), record, epochs=2)
    assert len(record.steps) == 6
    for number, weights in enumerate(record.steps):
        d = min(decay, (1 + number) / (10 + number))
        expected = [d * average + (1 - d) * value for average, value in zip(expected, weights, strict=True)]
    for ours, theirs in zip(values(model), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("decay", [0, 1, 1.5, "0.9", None])
def test_a_decay_that_cannot_be(decay):
    with pytest.raises(UserError, match=f"ema: decay must be .* Received: decay={decay!r}"):
        Ema(decay)
