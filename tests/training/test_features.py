import signal

import keras
import numpy as np
import pandas as pd
import pytest

import kerasft
from kerasft import cache
from kerasft.errors import Interrupted
from kerasft.training import features
from tests.interruption import Crash

ROWS = 40


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def texts():
    random = np.random.default_rng(0)
    words = ["good", "bad", "film", "the", "story", "dull", "warm", "a", "so", "plot"]
    rows = [" ".join(random.choice(words, random.integers(1, 12))) for _ in range(ROWS)]
    return pd.DataFrame({"text": [f"{row} {number}" for number, row in enumerate(rows)], "label": ["no", "yes"] * 20})


def images():
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 32, 32, 3)).astype("uint8")
    return pd.DataFrame({"image": list(pixels), "label": ["no", "yes"] * 20})


def fitted(make_tiny, directory, name="bert", data=None, epochs=3, callbacks=(), **arguments):
    task = "image_classification" if name == "efficientnet" else "text_classification"
    arguments = {"method": "linear_probe", "precision": "float32", "dropout": 0.0, **arguments}
    tuner = kerasft.FineTuner(task=task, backbone=make_tiny(name), labels=["no", "yes"], **arguments)
    data = (images if name == "efficientnet" else texts)() if data is None else data
    fit = {"validation_split": 0.2, "epochs": epochs, "batch_size": 8, "save_freq": 1}
    tuner.fit(data, **fit, callbacks=callbacks, directory=str(directory))
    return tuner


def files_in(home):
    return sorted(home.glob("features/*"))


METHODS = [
    ("bert", "linear_probe"),
    ("bert", {"name": "freeze", "blocks": 1}),
    ("bert", {"name": "lora", "layers": "transformer_layer_1.*(query|value)"}),
    pytest.param("gpt2", "linear_probe", marks=pytest.mark.slow),
    pytest.param("gpt2", {"name": "freeze", "blocks": 1}, marks=pytest.mark.slow),
    ("efficientnet", "linear_probe"),
    pytest.param("efficientnet", {"name": "freeze", "blocks": 1}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "method"), METHODS, ids=str)
def test_the_result_is_that_of_computing_it_in_each_epoch(make_tiny, home, monkeypatch, tmp_path, name, method):
    once = fitted(make_tiny, tmp_path / "once", name, method=method)
    assert len(files_in(home)) == 2  # Of training and validation.
    monkeypatch.setattr(features, "once", lambda model, data, *rest: data)
    always = fitted(make_tiny, tmp_path / "always", name, method=method)
    np.testing.assert_allclose(once.history["loss"], always.history["loss"], atol=1e-5)
    np.testing.assert_allclose(once.history["val_loss"], always.history["val_loss"], atol=1e-5)
    frame = (images if name == "efficientnet" else texts)()
    np.testing.assert_allclose(once.outputs(frame), always.outputs(frame), atol=1e-4)


POOLERS = [
    {"name": "freeze", "blocks": 2},
    pytest.param({"name": "lora", "layers": "pooled_dense"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", POOLERS, ids=str)
def test_below_a_pooler_that_learns(make_tiny, home, monkeypatch, tmp_path, method):
    once = fitted(make_tiny, tmp_path / "once", method=method, pooling="pooled", epochs=2)
    assert len(files_in(home)) == 2
    monkeypatch.setattr(features, "once", lambda model, data, *rest: data)
    always = fitted(make_tiny, tmp_path / "always", method=method, pooling="pooled", epochs=2)
    np.testing.assert_allclose(once.history["loss"], always.history["loss"], atol=1e-5)
    np.testing.assert_allclose(once.outputs(texts()), always.outputs(texts()), atol=1e-4)


def test_in_bfloat16_nothing_more_is_rounded(make_tiny, home, monkeypatch, tmp_path):
    arguments = {"method": {"name": "freeze", "blocks": 1}, "precision": "mixed_bfloat16"}
    once = fitted(make_tiny, tmp_path / "once", **arguments)
    assert [np.load(path, mmap_mode="r").dtype.itemsize for path in files_in(home)] == [2, 2]
    monkeypatch.setattr(features, "once", lambda model, data, *rest: data)
    always = fitted(make_tiny, tmp_path / "always", **arguments)
    np.testing.assert_allclose(once.history["loss"], always.history["loss"], atol=1e-3)


def test_another_run_reads_what_one_computed(make_tiny, home, tmp_path, capsys):
    fitted(make_tiny, tmp_path / "one")
    assert "frozen layers once (2 of 2 blocks)" in capsys.readouterr().err
    before = [path.stat().st_mtime_ns for path in files_in(home)]
    other = fitted(make_tiny, tmp_path / "other")
    assert "frozen layers once" not in capsys.readouterr().err
    assert len(files_in(home)) == 2 and before != [path.stat().st_mtime_ns for path in files_in(home)]
    assert other.history["loss"]


SLOWER = [pytest.param(change, marks=pytest.mark.slow) for change in ("pooling", "sequence_length")]


@pytest.mark.parametrize("change", ["weights", "data", "precision", *SLOWER])
def test_what_changes_the_features_has_a_file_of_its_own(make_tiny, home, tmp_path, change):
    fitted(make_tiny, tmp_path / "one")
    frame, arguments = texts(), {}
    if change == "data":
        frame.loc[3, "text"] = "another film"
    elif change == "precision":
        arguments = {"precision": "mixed_bfloat16"}
    elif change != "weights":
        arguments = {"pooling": "first"} if change == "pooling" else {"sequence_length": 8}

    def make(name):
        return make_tiny(name, seed=int(change == "weights"))

    fitted(make, tmp_path / "other", data=frame, **arguments)
    changed = 4 if change != "data" else {3, 4}
    assert len(files_in(home)) in (changed if isinstance(changed, set) else {changed})


@pytest.mark.parametrize(
    "content", [pytest.param(b"", marks=pytest.mark.slow), pytest.param(b"\x93NUMPY", marks=pytest.mark.slow), None]
)
def test_a_broken_file_is_made_again(make_tiny, home, tmp_path, content):
    one = fitted(make_tiny, tmp_path / "one")
    for path in files_in(home):
        path.write_bytes(path.read_bytes()[:-8] if content is None else content)
    other = fitted(make_tiny, tmp_path / "other")
    assert one.history == other.history


def test_one_epoch_gains_nothing(make_tiny, home, tmp_path):
    fitted(make_tiny, tmp_path / "one", epochs=1)
    assert files_in(home) == []


@pytest.mark.parametrize(
    ("name", "objectives", "is_kept"),
    [
        ("bert", ["label_smoothing", "r_drop"], True),
        ("bert", ["neftune"], False),
        ("bert", ["adversarial"], False),
        ("efficientnet", ["mixup"], False),
    ],
    ids=str,
)
def test_objectives_that_reach_below_have_each_epoch_computed(make_tiny, home, tmp_path, name, objectives, is_kept):
    tuner = fitted(make_tiny, tmp_path / "run", name, epochs=2, objectives=objectives)
    assert bool(files_in(home)) == is_kept
    assert np.isfinite(tuner.history["loss"]).all()


@pytest.mark.parametrize("epoch", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_an_interrupted_run_ends_in_the_same_bits(make_tiny, home, tmp_path, epoch):
    arguments = {"method": {"name": "freeze", "blocks": 1}}
    whole = fitted(make_tiny, tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        fitted(make_tiny, tmp_path / "run", callbacks=[Crash(epoch)], **arguments)
    for path in files_in(home):
        path.unlink()
    again = fitted(make_tiny, tmp_path / "run", **arguments)
    assert again.history == whole.history
    one, other = (tmp_path / name / "weights.safetensors" for name in ("whole", "run"))
    assert one.read_bytes() == other.read_bytes()


def test_a_signal_while_it_is_computed_leaves_and_the_same_call_goes_on(make_tiny, home, monkeypatch, tmp_path):
    whole = fitted(make_tiny, tmp_path / "whole")
    for path in files_in(home):
        path.unlink()
    with monkeypatch.context() as patch:
        add = features._Progress.add
        patch.setattr(features._Progress, "add", lambda *args: (add(*args), signal.raise_signal(signal.SIGTERM)))
        with pytest.raises(Interrupted, match="Stopped by SIGTERM after 0 epochs and 0 steps"):
            fitted(make_tiny, tmp_path / "run")
    assert files_in(home) == []
    assert fitted(make_tiny, tmp_path / "run").history == whole.history


def test_it_counts_as_training(make_tiny, home, tmp_path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(len(files_in(home)))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(len(files_in(home)))

    fitted(make_tiny, tmp_path / "run", epochs=2, callbacks=[Watch()])
    assert seen == [0, 2, 2]


def test_stages_have_what_is_frozen_in_them(make_tiny, home, tmp_path):
    stages = [{"method": "linear_probe", "epochs": 2}, {"method": {"name": "freeze", "blocks": 1}, "epochs": 2}]
    fitted(make_tiny, tmp_path / "run", method={"name": "stages", "stages": stages}, epochs=4)
    assert len(files_in(home)) == 4


def test_the_oldest_make_room(home, monkeypatch):
    folder = cache.folder() / "features"
    folder.mkdir(parents=True)
    for number in range(3):
        path = folder / f"{number}.npy"
        path.write_bytes(bytes(100))
        features.os.utime(path, (number, number))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: cache.shutil._ntuple_diskusage(0, 0, 1200))
    cache.make_room(folder, 150)
    assert [path.name for path in files_in(home)] == ["2.npy"]


def test_without_room_each_epoch_computes_it(make_tiny, home, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: cache.shutil._ntuple_diskusage(0, 0, 100))
    tuner = fitted(make_tiny, tmp_path / "run")
    assert len(tuner.history["loss"]) == 3
    assert files_in(home) == []
    assert "cannot be kept" in capsys.readouterr().err
