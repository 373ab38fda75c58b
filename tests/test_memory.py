import time

import numpy as np
import pytest

from kerasft import memory


def test_what_is_free_is_part_of_all():
    found = memory.free()
    if found is None:
        pytest.skip("this system does not say")
    available, total = found
    assert 0 < available < total


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    found = memory.free()
    if found is None:
        pytest.skip("this system does not say")
    (tmp_path / "memory.current").write_text("70000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free()[1] == found[1]
    (tmp_path / "memory.max").write_text("100000000\n")
    assert memory.free() == (30_000_000, 100_000_000)
    (tmp_path / "memory.stat").write_text("anon 5\nactive_file 7\ninactive_file 20000000\n")
    assert memory.free() == (50_000_000, 100_000_000)


def test_what_is_used_is_part_of_the_peak():
    assert 0 < memory.used() < 1.1 * memory.peak()  # Linux counts both a little late.


def test_the_peak_grows_with_what_is_held():
    before = memory.peak()
    np.ones(before - memory.used() + 100_000_000, "uint8")
    assert memory.peak() > before + 50_000_000


def test_what_is_held_meanwhile_is_seen_below_a_peak_of_before():
    np.ones(memory.peak() - memory.used() + 400_000_000, "uint8")  # A peak that nothing below is to reach.
    before, peak = memory.used(), memory.peak()
    with memory.Watch() as watch:
        held = np.ones(200_000_000, "uint8")
        time.sleep(0.1)
        del held
    assert memory.peak() == peak
    assert before + 150_000_000 < watch.most < peak


def test_a_new_peak_is_seen_however_short():
    with memory.Watch() as watch:
        np.ones(memory.peak() - memory.used() + 200_000_000, "uint8")
    assert watch.most == memory.peak()
