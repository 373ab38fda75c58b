import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import kerasft
from kerasft.compare import compare as module
from kerasft.compare import plan, processes, records
from kerasft.errors import UserError

# A run that waits for a signal to leave, as training does, and tells which it was.
WAITING = """
import signal, sys, time, types
import kerasft.compare
from kerasft.compare import processes
from kerasft.training.signals import Signals

def main(job, began):
    with Signals() as signals:
        print("waiting", flush=True)
        while not signals.received:
            time.sleep(0.01)
        time.sleep(0.5)
        print("saved after", signals.received, flush=True)

kerasft.compare.run_job = types.SimpleNamespace(main=main)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's job in the background has it ignored.
    processes.run(processes.Job(sys.argv[1], {}, None), lambda line: print(line, flush=True))
"""


@pytest.fixture
def ran(monkeypatch):
    """Replaces the processes, which take seconds each: full is right on most examples, lora on fewer.

    Gives the list of the folders that were run; a function put into `failing` may write into the record.
    """
    made = []

    def run(job, show):
        made.append(os.path.basename(job.folder))
        made.jobs.append(job)
        record = records.read(job.record)
        if made.failing:
            ending = made.failing(record)
            records.write(record, job.record)
            if ending or "error" in record:
                return ending
        right = 14 if record["variant"] == "full" else 10
        figures = {"trained_weights": 10, "learning_rate": 1e-3, "training_seconds": 1.0, "peak_memory_mb": 1.0}
        record |= {"figures": {**figures, "weights_mb": 1.0}, "metric": "accuracy"}
        record["scores"] = ([1] * right + [0] * (16 - right))[-made.examples :]
        os.makedirs(job.folder, exist_ok=True)
        open(os.path.join(job.folder, "manifest.json"), "w").close()
        records.write(record, job.record)
        return "The process ended with exit code 0"

    class Made(list):
        failing, examples = None, 16

    made = Made()
    made.jobs = []
    monkeypatch.setattr(processes, "run", run)
    return made


@pytest.fixture
def planned(recipe, test_data):
    return plan.make(recipe, ["full", "lora"], seeds=2, test=test_data)


def test_seeds_are_outermost_and_what_is_done_is_not_done_again(planned, ran, tmp_path, capsys):
    result = module.compare(planned, tmp_path / "c", "kerasft compare")
    assert ran == ["full_seed0", "lora_seed0", "full_seed1", "lora_seed1"]
    assert [(row.variant, row.score.value) for row in result.table] == [("full", 14 / 16), ("lora", 10 / 16)]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/4  full, seed 0  accuracy 0.8750  0 s  about ")
    assert lines[-1] == "4/4  lora, seed 1  accuracy 0.6250  0 s"
    ran.clear()
    assert module.compare(planned, tmp_path / "c", "kerasft compare") == result
    assert ran == []


def test_an_interrupted_comparison_goes_on(planned, ran, tmp_path):
    def interrupted(record):
        if len(ran) == 2:
            raise KeyboardInterrupt

    ran.failing = interrupted
    with pytest.raises(KeyboardInterrupt):
        module.compare(planned, tmp_path / "c")
    content = json.loads((tmp_path / "c" / "comparison.json").read_text(encoding="utf-8"))
    assert [run["variant"] for run in content["variants"]] == ["full"]
    assert content["notes"][-1] == "3 of 4 runs are still to be made."
    ran.failing = None
    module.compare(planned, tmp_path / "c")
    assert ran == ["full_seed0", "lora_seed0", "lora_seed0", "full_seed1", "lora_seed1"]


def test_more_variants_and_other_test_data_only_add(planned, ran, tmp_path, recipe):
    module.compare(planned, tmp_path / "c")
    ran.clear()
    module.compare(plan.make(recipe, ["lora", "full", "bit_fit"], seeds=2, test=planned.test), tmp_path / "c")
    assert ran == ["bit_fit_seed0", "bit_fit_seed1"]
    kept = records.read(tmp_path / "c" / "full_seed0.json")["figures"]
    ran.clear()
    seen = []
    ran.failing = lambda record: seen.append(record.get("figures"))
    module.compare(plan.make(recipe, ["full", "lora"], seeds=2, test=recipe["data"]), tmp_path / "c")
    assert len(ran) == 4
    assert seen[0] == kept  # So it is scored again, and not fitted.


def test_examples_held_back_are_handed_over_and_found_again(recipe, ran, tmp_path):
    recipe["data"] = {"name": "csv", "path": recipe["data"], "separator": None}
    ran.examples = 4
    made = plan.make(recipe, ["full", "lora"], seeds=2)
    module.compare(made, tmp_path / "c")
    assert {(len(job.recipe["data"]), len(job.recipe["validation_data"])) for job in ran.jobs} == {(12, 4)}
    assert all("validation_split" not in job.recipe for job in ran.jobs)
    assert records.read(tmp_path / "c" / "full_seed0.json")["recipe"]["validation_split"] == 0.25
    ran.clear()
    module.compare(plan.make(recipe, ["full", "lora"], seeds=2), tmp_path / "c")
    assert ran == []


def test_a_failed_run_is_told_and_tried_again(planned, ran, tmp_path, capsys):
    def failing(record):
        if record["variant"] == "lora" and record["seed"] == 0:
            record["error"] = "Training diverged. Received: loss=nan"
        if record["variant"] == "lora" and record["seed"] == 1:
            return "The process was ended by SIGKILL, as happens when memory runs out"

    ran.failing = failing
    result = module.compare(planned, tmp_path / "c")
    assert [row.variant for row in result.table] == ["full"]
    assert result.notes[-2:] == [
        "lora, seed 0 failed: Training diverged. Received: loss=nan",
        "lora, seed 1 failed: The process was ended by SIGKILL, as happens when memory runs out.",
    ]
    assert "2/4  lora, seed 0  failed: Training diverged. Received: loss=nan  0 s" in capsys.readouterr().err
    ran.clear()
    ran.failing = None
    assert len(module.compare(planned, tmp_path / "c").table) == 2
    assert ran == ["lora_seed0", "lora_seed1"]


def test_what_concerns_all_runs_ends_the_comparison(planned, ran, tmp_path):
    ran.failing = lambda record: record.update(error="No such preset. Received: 'x'", concerns_all=True)
    with pytest.raises(UserError, match="No such preset"):
        module.compare(planned, tmp_path / "c")
    assert len(ran) == 1


def test_all_runs_failed(planned, ran, tmp_path):
    ran.failing = lambda record: record.update(error="odd")
    with pytest.raises(UserError, match=r"All 4 runs failed, see .*full_seed0.log. The first: odd"):
        module.compare(planned, tmp_path / "c")


def test_a_folder_with_other_runs_is_refused_or_left_alone(planned, ran, tmp_path, recipe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = module.compare(planned)
    other = plan.make(recipe | {"epochs": 3}, ["full", "lora"], test=planned.test)
    with pytest.raises(UserError, match="full_seed0 in it is a run of another recipe; choose a new folder. Received: "):
        module.compare(other, first.directory)
    assert first.directory == os.path.join("saved_models", "text_classification_tiny_full_comparison")
    assert module.compare(other).directory == f"{first.directory}-2"
    os.makedirs(tmp_path / "d" / "lora_seed1")
    with pytest.raises(UserError, match="lora_seed1 in it is no run of a comparison"):
        module.compare(planned, tmp_path / "d")
    with pytest.raises(UserError, match="This is a file; choose a new folder"):
        module.compare(planned, planned.test)


def test_other_data_need_another_folder(ran, tmp_path, recipe, test_data):
    """The same paths may hold them: examples that are held back would be of those that the runs were fitted to."""
    ran.examples = 4
    module.compare(plan.make(recipe, ["full", "lora"], seeds=1), tmp_path / "c")
    with open(recipe["data"], "a", encoding="utf-8") as file:
        file.write("a story so good,positive\n")
    with pytest.raises(UserError, match="full_seed0 in it is a run on other data; choose a new folder. Received: "):
        module.compare(plan.make(recipe, ["full", "lora"], seeds=1), tmp_path / "c")
    ran.examples = 16
    module.compare(plan.make(recipe, ["full", "lora"], seeds=1, test=test_data), tmp_path / "d")
    with open(test_data, encoding="utf-8") as file:
        lines = file.readlines()
    with open(test_data, "w", encoding="utf-8") as file:
        file.writelines([lines[0], *reversed(lines[1:])])
    ran.clear()
    module.compare(plan.make(recipe, ["full", "lora"], seeds=1, test=test_data), tmp_path / "d")
    assert ran == ["full_seed0", "lora_seed0"]  # Scored again.


def test_a_folder_holds_one_comparison(planned, ran, tmp_path, recipe):
    module.compare(planned, tmp_path / "c")
    before = (tmp_path / "c" / "comparison.json").read_bytes()
    other = plan.make(recipe | {"epochs": 3}, ["bit_fit", "ia3"], test=planned.test)
    with pytest.raises(UserError, match="full_seed0 in it is a run of another recipe; choose a new folder. Received: "):
        module.compare(other, tmp_path / "c")
    assert (tmp_path / "c" / "comparison.json").read_bytes() == before
    module.compare(plan.make(recipe, ["bit_fit", "ia3"], ["l2_sp"], seeds=1, test=planned.test), tmp_path / "c")
    assert ran[4:] == ["bit_fit_seed0", "ia3_seed0", "full_l2_sp_seed0"]


def test_processes_say_how_they_ended(tmp_path):
    assert processes._ending(1) == "The process ended with exit code 1"
    assert processes._ending(-9) == "The process was ended by SIGKILL, as happens when memory runs out"
    assert processes._ending(-11) == "The process was ended by SIGSEGV"
    (tmp_path / "log").write_bytes(b"\xff first\nepoch 1/2\n\n")
    assert processes.last_line(tmp_path / "log") == "epoch 1/2"
    assert processes.last_line(tmp_path / "none") == ""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no process groups of this kind")
def test_ctrl_c_asks_the_run_once_so_it_saves(tmp_path):
    """A terminal sends SIGINT to all processes in the foreground; then the parent asks its child."""
    (tmp_path / "waiting.py").write_text(WAITING)
    command = [sys.executable, str(tmp_path / "waiting.py"), str(tmp_path / "full_seed0")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while b"waiting" not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
    assert (tmp_path / "full_seed0.log").read_text() == "waiting\nsaved after SIGTERM\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_runs(recipe, test_data, tmp_path):
    """The scores are those of the saved runs, and what is measured is of the process of each."""
    made = plan.make(recipe, ["full", "linear_probe"], seeds=2, test=test_data)
    result = module.compare(made, tmp_path / "c")
    assert {row.variant for row in result.table} == {"full", "linear_probe"}
    rows = {row.variant: row for row in result.table}
    for name, row in rows.items():
        accuracies = []
        for seed in (0, 1):
            tuner = kerasft.load(tmp_path / "c" / f"{name}_seed{seed}")
            accuracies.append(tuner.evaluate(test_data)["accuracy"].value)
            assert tuner.arguments["seed"] == seed
        assert row.score.value == pytest.approx(np.mean(accuracies))
        assert 0 < row.figures["training_seconds"] < 300
        # Of the process alone: far less than this one, with all the tests, may have.
        assert 100 < row.figures["peak_memory_mb"] < 4000
    assert rows["linear_probe"].figures["trained_weights"] == 16 * 2 + 2
    assert rows["full"].figures["trained_weights"] > 5000
    assert rows["full"].figures["weights_mb"] > rows["linear_probe"].figures["weights_mb"] > 0
    assert (rows["full"].figures["learning_rate"], rows["linear_probe"].figures["learning_rate"]) == (0.01, 5e-3)
    assert "epoch 2/2" in (tmp_path / "c" / "full_seed0.log").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_runs_on_examples_held_back(recipe, tmp_path):
    made = plan.make(recipe | {"epochs": 1}, ["linear_probe", {"name": "freeze", "blocks": 77}], seeds=1)
    result = module.compare(made, tmp_path / "c")
    assert [row.variant for row in result.table] == ["linear_probe"]
    assert "freeze blocks=77, seed 0 failed: " in result.notes[-2] and "Received: blocks=77" in result.notes[-2]
    history = json.loads((tmp_path / "c" / "linear_probe_seed0" / "history.json").read_text(encoding="utf-8"))
    assert result.table[0].score.value == pytest.approx(max(history["val_accuracy"]))
