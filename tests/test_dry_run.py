import dataclasses

import keras
import numpy as np
import pytest

from kerasft import dry_run
from kerasft.errors import UserError
from kerasft.training import fit as training


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    """60 rows of one to 20 words, and 30 others in a second file."""
    folder = tmp_path_factory.mktemp("data")
    for name, rows in (("train", 60), ("valid", 30)):
        lines = [f"{name}{i} {'good ' * (i // 3)},{i % 2}" for i in range(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines]))
    return folder


def recipe(make_tiny, csv, folder, **changes):
    own = {
        "task": "text_classification",
        "backbone": make_tiny("bert"),
        "data": str(csv / "train.csv"),
        "batch_size": 4,
    }
    return {**own, "directory": str(folder / "runs" / "one"), **changes}


def test_it_tells_what_a_fit_would_take_and_keeps_nothing(make_tiny, csv, tmp_path):
    forecast = dry_run.dry_run(recipe(make_tiny, csv, tmp_path, validation_data=str(csv / "valid.csv"), epochs=5))
    assert forecast.steps == 15
    assert len(forecast.epoch_seconds) == 5
    assert 0 < forecast.step_seconds < sum(forecast.epoch_seconds)
    weights = 4 * make_tiny("bert").backbone.count_params()
    assert weights < forecast.run_bytes < 20 * weights
    # Weights and both moments of AdamW, three times.
    assert 9 * weights < forecast.checkpoint_bytes < 15 * weights
    assert forecast.export_bytes > weights
    assert forecast.peak_bytes > 100e6
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_named_meanwhile_is_measured(tmp_path):
    (tmp_path / "step-0000000006").mkdir()
    (tmp_path / "step-0000000006" / "state.safetensors").write_bytes(bytes(100))
    assert dry_run._state_bytes(tmp_path / "step-0000000006.partial") == 100
    assert dry_run._state_bytes(tmp_path / "step-0000000004") == 0  # An old one, removed meanwhile.


def test_the_longest_rows_are_tried(make_tiny, csv, tmp_path, monkeypatch):
    widths, gather = [], training.training_dataset

    def record(examples, *arguments):
        widths.append(int(examples.lengths.max()))
        return gather(examples, *arguments)

    monkeypatch.setattr(training, "training_dataset", record)
    dry_run.dry_run(recipe(make_tiny, csv, tmp_path))
    assert widths == [22]  # 19 words, an unknown one, two marks.


@pytest.mark.slow
def test_texts_in_windows(make_tiny, csv, tmp_path):
    rows = [{"tokens": ["a", "good", "film"] * (1 + i), "tags": ["O", "B-X", "O"] * (1 + i)} for i in range(20)]
    made = recipe(make_tiny, csv, tmp_path, task="token_classification", data=rows, sequence_length=16)
    assert dry_run.dry_run(made).steps > 5


def test_what_is_frozen_is_counted_once(make_tiny, csv, tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    seconds = iter([5.0])
    monkeypatch.setattr(dry_run, "_seconds", lambda function: next(seconds))
    forecast = dry_run.dry_run(recipe(make_tiny, csv, tmp_path, method="linear_probe", epochs=4))
    first, *others = forecast.epoch_seconds
    assert others == [others[0]] * 3
    # The rows tried are some of the longest and some of middle length: 24 of 60.
    assert 5 < first - others[0] < 5 * 60 / 24
    assert list(tmp_path.iterdir()) == []


def test_a_teachers_file_is_checked_for_all_rows(make_tiny, csv, tmp_path):
    path = str(tmp_path / "logits.npy")
    made = recipe(make_tiny, csv, tmp_path, objectives=[{"name": "distillation", "teacher": path}], epochs=1)
    np.save(path, np.zeros((60, 2)))
    assert dry_run.dry_run(made).steps == 15
    np.save(path, np.zeros((59, 2)))
    with pytest.raises(UserError, match=r"of the shape \(60, 2\)"):
        dry_run.dry_run(made)


@pytest.mark.slow
def test_stages_are_tried_each(make_tiny, csv, tmp_path):
    forecast = dry_run.dry_run(recipe(make_tiny, csv, tmp_path, method="lp_ft", epochs=2))
    assert len(forecast.epoch_seconds) == 2


@pytest.mark.parametrize("patience", [None, 0])
def test_no_stage_is_left_out(make_tiny, csv, tmp_path, patience):
    """Neither the default EarlyStopping, of patience 3, nor a user's ends the trial of stages that learn nothing."""
    given = [] if patience is None else [keras.callbacks.EarlyStopping("loss", patience=patience, baseline=0.0)]
    method = {"name": "lp_ft", "probe_epochs": 5, "probe_learning_rate": 1e-9}
    changes = {"validation_data": str(csv / "valid.csv"), "callbacks": given, "method": method, "epochs": 6}
    assert len(dry_run.dry_run(recipe(make_tiny, csv, tmp_path, **changes)).epoch_seconds) == 6


def test_in_words(make_tiny):
    numbers = {"step_seconds": 0.412, "steps": 217, "epoch_seconds": [60.0, 60.4, 60.0], "peak_bytes": 1_830_000_000}
    sizes = {"run_bytes": 91_000_000, "export_bytes": 92_000_000, "checkpoint_bytes": 810_000_000}
    free = {"free_memory_bytes": None, "free_disk_bytes": 900_000_000}
    forecast = dry_run.Forecast("saved_models/reviews", **numbers, **sizes, **free)
    assert dry_run.lines(forecast) == [
        "time    about 0:03:00 for 3 epochs of 217 steps; the longest takes 412 ms",
        "memory  1,830 MB at the peak",
        "disk    91 MB in saved_models/reviews, up to 810 MB more on the way; an export 92 MB; 900 MB are free",
    ]
    assert "901 MB are needed and 900 MB free" in dry_run.problem(forecast)
    assert dry_run.problem(dataclasses.replace(forecast, free_disk_bytes=901_000_000)) is None
