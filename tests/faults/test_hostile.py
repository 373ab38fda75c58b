"""The corpus of hostile files, one test for each; `python -m tests.faults.hostile` prints a table of it."""

import pytest

from tests.faults import hostile, watch
from tests.faults.whole import Whole

CASES = hostile.cases()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = Whole(tmp_path_factory.mktemp("hostile") / "whole")
    hostile.warm_up(made)
    return made


@pytest.fixture(scope="module")
def memory():
    return watch.Memory()


def test_there_are_enough_of_them():
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(case, whole, memory, tmp_path):
    found = hostile.outcome(case, whole, tmp_path / "case", memory)
    assert not found.problem, f"{found.problem}; {found.message}"


def test_the_watch_sees_what_it_must(tmp_path):
    import os
    import socket
    import subprocess

    (tmp_path / "inside").mkdir()
    with watch.watching(tmp_path / "inside") as events:
        (tmp_path / "inside" / "a").touch()
        (tmp_path / "b").write_text("b")
        os.rename(tmp_path / "b", tmp_path / "c")
        subprocess.run(["true"])
        socket.socket().close()
    assert {what for what, _ in events} == {"write", "process", "socket"}
    written = {where for what, where in events if what == "write"}
    assert {str(tmp_path / "b"), str(tmp_path / "c")} <= written and str(tmp_path / "inside" / "a") not in written
