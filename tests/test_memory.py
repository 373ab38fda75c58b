import numpy as np
import pytest

from kerasft import memory


def test_what_is_free_is_part_of_all():
    found = memory.free()
    if found is None:
        pytest.skip("this system does not say")
    available, total = found
    assert 0 < available < total


def test_the_peak_grows_with_what_is_held():
    before = memory.peak()
    np.ones(int(before) + 100_000_000, "uint8")
    assert memory.peak() > before + 50_000_000
