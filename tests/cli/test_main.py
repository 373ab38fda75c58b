import os
import resource
import subprocess
import sys

import pytest

from kerasft import cli
from kerasft.cli import commands
from kerasft.errors import Interrupted, UserError
from kerasft.fine_tuner import FineTuner


def ran(monkeypatch, *arguments):
    """Runs the command line in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["kerasft", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    return leaving.value.code


def in_process(*arguments):
    environment = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERASFT_TRACEBACK")}
    command = [sys.executable, "-m", "kerasft", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def failing(monkeypatch):
    """Makes `kerasft doctor` fail with the error that is appended."""
    errors = []

    def main():
        raise errors[0]

    monkeypatch.setattr("kerasft.cli.doctor.main", main)
    monkeypatch.delenv("KERASFT_TRACEBACK", raising=False)
    return errors


def test_an_error_of_the_user_is_told_without_a_traceback(failing, monkeypatch, capsys):
    failing.append(UserError("reviews.csv has no column 'text'. Received: columns=None"))
    assert ran(monkeypatch, "doctor") == 2
    said = capsys.readouterr()
    assert said.err == "Error: reviews.csv has no column 'text'. Received: columns=None\n"
    assert said.out == ""


@pytest.mark.parametrize("arguments", [["--traceback", "doctor"], ["doctor", "--traceback"]])
def test_traceback_anywhere_shows_it(failing, monkeypatch, capsys, arguments):
    monkeypatch.setenv("KERASFT_TRACEBACK", "0")  # Restored after the test, which sets it.
    failing.append(UserError("wrong"))
    assert ran(monkeypatch, *arguments) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_environment_can_ask_for_tracebacks(failing, monkeypatch, capsys):
    monkeypatch.setenv("KERASFT_TRACEBACK", "1")
    failing.append(RuntimeError("odd"))
    assert ran(monkeypatch, "doctor") == 1
    assert "RuntimeError: odd" in capsys.readouterr().err.splitlines()[-1]


def test_an_unexpected_error_says_what_to_do(failing, monkeypatch, capsys):
    failing.append(RuntimeError("odd\nwith details"))
    assert ran(monkeypatch, "doctor") == 1
    said = capsys.readouterr().err
    assert said.startswith("Unexpected error: RuntimeError: odd\nRun the same command with --traceback")
    assert "details" not in said
    assert "Traceback" not in said


def test_ctrl_c_is_one_line_and_130(failing, monkeypatch, capsys):
    failing.append(KeyboardInterrupt())
    assert ran(monkeypatch, "doctor") == 130
    assert capsys.readouterr().err.strip().splitlines() == [
        "Interrupted. The same fit, search or compare command goes on where it was."
    ]


def test_a_wrong_command_is_2(monkeypatch, capsys):
    assert ran(monkeypatch, "fitt") == 2
    assert "No such command 'fitt'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command.callback.__name__ for command in commands.app.registered_commands])
def test_every_command_has_an_example(monkeypatch, capsys, command):
    assert ran(monkeypatch, command, "--help") == 0
    assert f"Example: kerasft {command}" in capsys.readouterr().out


def test_help_comes_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = in_process("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.returncode == 0
    assert "demo" in run.stdout
    # Of the processor, as a busy machine would make the clock lie.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


def test_tensorflow_does_not_greet_the_user():
    run = in_process("evaluate", "nowhere", "x.csv")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("Error: No finished run in this folder")
    assert len(run.stderr.splitlines()) == 1


def test_the_commands_load_nothing_heavy():
    code = "import sys, kerasft.cli.commands; print({'tensorflow', 'keras', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "set()\n"


def test_a_training_that_a_signal_stopped_leaves_with_75(monkeypatch, tmp_path, capsys):
    def stopped(*_):
        raise Interrupted("Stopped by SIGTERM after 1 epochs and 2 steps.")

    monkeypatch.setattr(FineTuner, "frames", stopped)
    (tmp_path / "recipe.yaml").write_text("{task: text_classification, backbone: x, data: y.csv}")
    assert ran(monkeypatch, "fit", str(tmp_path / "recipe.yaml")) == 75
    assert capsys.readouterr().err == "\nStopped by SIGTERM after 1 epochs and 2 steps.\n"
