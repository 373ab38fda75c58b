"""Being asked to stop."""

import signal
import subprocess
import sys
import threading

import pytest

from kerasft.training.signals import Signals

TWICE = """
import signal
from kerasft.training.signals import Signals
with Signals():
    signal.raise_signal(signal.{name})
    print("still here", flush=True)
    signal.raise_signal(signal.SIGTERM)
    print("too late", flush=True)
"""


@pytest.mark.parametrize("number", Signals.HANDLED)
def test_a_signal_is_noted_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with Signals() as signals:
        assert signals.received == ""
        signal.raise_signal(number)
        assert signals.received == number.name
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_second_one_ends_the_process_at_once(name):
    process = subprocess.run(
        [sys.executable, "-c", TWICE.format(name=name)], capture_output=True, text=True, timeout=60
    )
    assert process.stdout == "still here\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_other_threads_have_no_handlers():
    before, found = signal.getsignal(signal.SIGTERM), []

    def enter():
        with Signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]
