import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.schedules import SlantedTriangular


def by_the_paper(step, peak, total, rise, ratio):
    """Equation 3, with its own names."""
    cut = int(total * rise)
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / rise - 1))
    return peak * (1 + p * (ratio - 1)) / ratio


def test_it_is_the_papers():
    schedule = SlantedTriangular(0.01, total_steps=100)
    found = [float(schedule(step)) for step in range(100)]
    np.testing.assert_allclose(found, [by_the_paper(s, 0.01, 100, 0.1, 32) for s in range(100)], rtol=1e-5)
    assert max(found) == found[10] == pytest.approx(0.01)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_runs(total):
    found = [float(SlantedTriangular(1.0, total)(step)) for step in range(total)]
    assert all(0 < rate <= 1 for rate in found)


@pytest.mark.parametrize("arguments", [{"rise": 0}, {"rise": 1}, {"rise": "0.1"}, {"ratio": 0.5}])
def test_arguments_out_of_range(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(UserError, match=f"{name}={value!r}"):
        SlantedTriangular(1.0, 10, **arguments)
