"""One owner of a run folder, however many processes want it, and whatever ends them."""

import contextlib
import multiprocessing
import os
import signal

import pytest

from kerasft import run_folder
from kerasft.errors import UserError

RECIPE = {"task": "text_classification", "backbone": "x"}
# Forked, so that a round takes no time; the children touch files alone.
PROCESSES = multiprocessing.get_context("fork")

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="Windows does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def started(number, target, *arguments):
    found = [PROCESSES.Process(target=target, args=arguments) for _ in range(number)]
    for process in found:
        process.start()
    return found


def claim(directory, start, answers, is_over):
    start.wait()
    try:
        with run_folder.claimed(directory, RECIPE):
            answers.put((os.getpid(), None))
            is_over.wait()
    except UserError as error:
        answers.put((os.getpid(), str(error)))


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [2, 8])
def test_one_of_many_processes_gets_the_folder(tmp_path, number, rounds):
    directory = tmp_path / "run"
    for turn in range(rounds):
        start, answers, is_over = PROCESSES.Barrier(number), PROCESSES.Queue(), PROCESSES.Event()
        found = started(number, claim, str(directory), start, answers, is_over)
        said = dict(answers.get(timeout=60) for _ in found)
        owner, *others = sorted(said, key=lambda pid: said[pid] is not None)
        assert said[owner] is None
        assert all("Another process is training in this folder" in said[pid] for pid in others)
        if turn % 2:
            is_over.set()
        else:  # The next round finds what is left of it.
            os.kill(owner, signal.SIGKILL)
        for process in found:
            process.join(60)


def take_turns(directory, inside, times, answers):
    taken = 0
    for _ in range(times):
        with contextlib.suppress(UserError), run_folder.claimed(directory, RECIPE):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            os.remove(inside)
            taken += 1
    answers.put(taken)


def test_a_lock_that_goes_has_no_second_owner(tmp_path):
    answers = PROCESSES.Queue()
    found = started(6, take_turns, str(tmp_path / "run"), str(tmp_path / "inside"), 100, answers)
    taken = [answers.get(timeout=120) for _ in found]
    for process in found:
        process.join(60)
    assert sum(taken) > 6
    assert all(process.exitcode == 0 for process in found)
