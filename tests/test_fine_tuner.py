"""The interface: what `fit` refuses before anything is loaded, what a run leaves, and how it goes on."""

import gc
import importlib
import json
import os
import shutil
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

import kerasft
from kerasft import registry
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.presets import base as presets
from kerasft.training import fit as training
from tests.interruption import Crash

LABELS = ["negative", "positive"]


@pytest.fixture
def nothing_loads(monkeypatch):
    def fail(identifier):
        raise AssertionError(f"loaded {identifier!r}")

    monkeypatch.setattr(presets, "resolve", fail)


@pytest.fixture(scope="module")
def finished(make_tiny, tmp_path_factory):
    """A finished run on a tiny encoder, with validation data."""
    words = {"positive": ["good", "great", "witty"], "negative": ["bad", "dull", "slow"]}
    rows = [{"text": f"a {w} film {i}", "label": label} for i in range(8) for label in words for w in words[label]]
    tuner = FineTuner("text_classification", make_tiny("bert"), learning_rate=0.03, precision="float32")
    directory = tmp_path_factory.mktemp("run") / "run"
    history = tuner.fit(rows, validation_split=0.25, epochs=3, batch_size=8, directory=directory)
    return tuner, history, directory, rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "text_clasification"}, "Did you mean 'text_classification'"),
        ({"method": "linear_prob"}, "Did you mean 'linear_probe'"),
        ({"method": {"name": "freeze", "block": 2}}, "Did you mean 'blocks'"),
        ({"objectives": ["l2sp"]}, "Did you mean 'l2_sp'"),
        ({"precision": "bf16"}, "precision must be one of"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"labels": ["a"]}, "two or more different names"),
        ({"seed": -1}, "seed must be a whole number, 0 or more. Received: seed=-1"),
        ({"objectives": "sam"}, "objectives must be a list. Received: objectives='sam'"),
        (
            {"objectives": ["l2_sp", "sam", "l2_sp"]},
            r"different names. Received: objectives=\['l2_sp', 'sam', 'l2_sp'\]",
        ),
        ({"task": "seq2seq", "objectives": ["neftune"]}, "neftune needs an encoder or a decoder alone"),
        ({"task": "seq2seq", "objectives": ["adversarial"]}, "adversarial needs an encoder or a decoder alone"),
        ({"label": ["a", "b"]}, "has no argument 'label'"),
    ],
)
def test_wrong_arguments_are_refused_at_once(nothing_loads, arguments, message):
    with pytest.raises(UserError, match=message):
        FineTuner(**{"task": "text_classification", "backbone": "x", **arguments})


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ([{"review": "a", "label": "x"}], {}, "text"),
        ([{"text": "", "label": "x"}, {"text": "b", "label": "y"}], {}, "row 1"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], {}, "x"),
        ("missing.csv", {}, "missing.csv"),
        ([{"text": "a", "label": "x"}], {"epochs": 0}, "epochs must be a whole number"),
        ([{"text": "a", "label": "x"}], {"batch_size": 2.5}, "batch_size must be a whole number"),
        ([{"text": "a", "label": "x"}], {"resume": True}, "resume must be 'auto' or 'never'"),
        ([{"text": "a", "label": "x"}], {"callbacks": "ema"}, "callbacks must be a list. Received: callbacks='ema'"),
        ([], {"callbacks": [keras.callbacks.ReduceLROnPlateau()]}, "ReduceLROnPlateau needs an optimizer object"),
    ],
)
def test_unusable_data_are_refused_before_anything_is_loaded(nothing_loads, tmp_path, data, arguments, message):
    tuner = FineTuner("text_classification", "x")
    with pytest.raises(UserError, match=message):
        tuner.fit(data, directory=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_none_is_the_default(nothing_loads):
    tuner = FineTuner("text_classification", "x", None, objectives=None)
    assert tuner.recipe["method"] == "full" and tuner.objectives == []
    with pytest.raises(UserError, match="missing.csv"):
        tuner.fit("missing.csv", callbacks=None)


def test_none_is_kept_in_a_recipe_where_it_is_not_the_default():
    data = {"name": "csv", "path": "a.csv", "quote": None}
    tuner = FineTuner("causal_lm", "x", learning_rate=None, template=None)
    tuner.fit_arguments = {"data": data, "callbacks": []}
    assert tuner.recipe == {
        **{"task": "causal_lm", "backbone": "x", "method": "full", "precision": "auto"},
        **{"gradient_checkpointing": False, "seed": 0, "template": None, "data": data},
    }
    assert FineTuner(**{k: v for k, v in tuner.recipe.items() if k != "data"}).task.template is None


def test_a_rate_that_an_object_would_override_is_refused(make_tiny, reviews, tmp_path):
    tuner = FineTuner("text_classification", make_tiny("bert"), "lp_ft", optimizer=keras.optimizers.SGD(0.1))
    with pytest.raises(UserError, match="The stage 'head' has a learning rate.*Received: 0.005 and optimizer=SGD"):
        tuner.fit(reviews, epochs=2, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("objective", "may_part"), [("r_drop", True), ("mixup", None)])
def test_rows_that_meet_are_not_parted(make_tiny, reviews, tmp_path, monkeypatch, objective, may_part):
    class Asked(Exception):
        pass

    def ask(model, task, stages, examples, settings, made):
        raise Asked(settings.may_part)

    monkeypatch.setattr(training, "fit", ask)
    tuner = FineTuner("text_classification", make_tiny("bert"), objectives=[objective])
    with pytest.raises(Asked, match=str(may_part)):
        tuner.fit(reviews, batch_size="auto", directory=tmp_path / "run")


def test_fit_learns_and_leaves_a_whole_run_folder(finished):
    tuner, history, directory, _ = finished
    assert isinstance(history, keras.callbacks.History)
    assert len(history.history["loss"]) == len(history.epoch) == 3
    assert max(history.history["val_accuracy"]) > 0.9
    for name in ("recipe.yaml", "weights.safetensors", "labels.json", "metrics.json", "report.html", "manifest.json"):
        assert (directory / name).stat().st_size > 0, name
    assert not (directory / "checkpoint").exists()
    assert json.loads((directory / "labels.json").read_text()) == LABELS
    assert yaml.safe_load((directory / "recipe.yaml").read_text())["epochs"] == 3


def test_loaded_run_answers_alike(finished):
    tuner, _, directory, rows = finished
    loaded = kerasft.load(directory)
    texts = [row["text"] for row in rows]
    np.testing.assert_allclose(loaded.predict(texts)["scores"], tuner.predict(texts)["scores"], atol=1e-6)
    assert loaded.task.labels == LABELS


def test_evaluate_gives_values_with_intervals(finished):
    tuner, _, _, rows = finished
    accuracy = tuner.evaluate(rows)["accuracy"]
    truth = np.array([row["label"].encode() for row in rows])
    assert accuracy.value == pytest.approx((tuner.predict([row["text"] for row in rows])["label"] == truth).mean())
    assert accuracy.low <= accuracy.value <= accuracy.high


def test_what_the_model_is_not_made_of_may_change(finished, tmp_path):
    """Reports, exports and files of others; and so in runs saved before, whose manifests name them."""
    _, _, directory, rows = finished
    run = shutil.copytree(directory, tmp_path / "run")
    (run / "answers.csv").write_text("row,label\n")
    kerasft.load(run).evaluate(rows[:4])
    manifest = json.loads((run / "manifest.json").read_text())
    assert not {"answers.csv", "metrics.json", "report.html"} & manifest["sha256"].keys()
    (run / "answers.csv").unlink()
    kerasft.load(run)
    manifest["sha256"] |= dict.fromkeys(["answers.csv", "metrics.json", "report.html"], "0" * 64)
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert kerasft.load(run).task.labels == LABELS


def test_an_evaluation_that_cannot_be_reported_gives_its_metrics(finished, tmp_path):
    tuner, _, directory, rows = finished
    run = shutil.copytree(directory, tmp_path / "run")
    (run / "metrics.json.partial").mkdir()  # The superuser, as whom tests may run, can write anywhere else.
    loaded = kerasft.load(run)
    with pytest.warns(UserWarning, match=r"The report of this evaluation could not be written \(.*json.partial"):
        assert loaded.evaluate(rows) == kerasft.load(directory).evaluate(rows)
    assert loaded.report is None


def test_a_run_keeps_its_folder_when_the_process_goes_elsewhere(finished, tmp_path, monkeypatch):
    _, _, directory, rows = finished
    shutil.copytree(directory, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    loaded = kerasft.load("run")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    loaded.evaluate(rows[:4])
    assert loaded.report == str(tmp_path / "run" / "report.html")
    assert not list((tmp_path / "other").iterdir())
    monkeypatch.chdir(tmp_path)
    loaded.evaluate(rows[:4])
    assert "kerasft evaluate run DATA" in (tmp_path / "run" / "report.html").read_text()


def test_what_is_frozen_by_hand_is_saved_and_told(make_tiny, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "resolve", lambda identifier: make_tiny("bert"))
    tuner = FineTuner("text_classification", "tiny", learning_rate=0.03, precision="float32")
    tuner.fit(reviews, epochs=1, batch_size=4, directory=tmp_path / "run")
    tuner.model.get_layer("transformer_layer_0").trainable = False
    tuner.save(tmp_path / "saved")
    loaded = kerasft.load(tmp_path / "saved")
    for ours, theirs in zip(loaded.model.weights, tuner.model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    with pytest.warns(UserWarning, match="`trainable` of 16 weights was set by hand and is not kept.*_layer_0"):
        tuner.fit(reviews, epochs=1, batch_size=4, directory=tmp_path / "again")


@pytest.mark.parametrize(
    ("arguments", "stated"),
    [
        ({"optimizer": keras.optimizers.AdamW(3e-4)}, 3e-4),
        ({"schedule": keras.optimizers.schedules.CosineDecay(3e-4, 10)}, "the schedule's own"),
        ({"learning_rate": 2e-4}, 2e-4),
    ],
)
def test_the_rate_of_an_object_is_stated(make_tiny, reviews, tmp_path, monkeypatch, arguments, stated):
    logs = {}
    tuner = FineTuner("text_classification", make_tiny("bert"), **arguments)
    board = importlib.import_module("kerasft.callbacks.tensorboard")  # As an attribute it may be the class.
    monkeypatch.setattr(board, "flat", lambda hparams: logs.update(hparams) or {})
    tuner.fit(reviews, epochs=1, batch_size=8, directory=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["facts"]["learning rate"] == logs["learning_rate"] == stated


def test_nothing_saved_is_overwritten(finished):
    tuner, _, directory, rows = finished
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and "logs" not in path.parts}
    with pytest.raises(UserError, match="finished run"):
        tuner.fit(rows, epochs=1, directory=directory)
    with pytest.raises(UserError):
        tuner.save(directory)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "recipe.yaml", "labels.json", "architecture/architecture.json"]
)
def test_one_flipped_bit_is_noticed(finished, name):
    path = finished[2] / name
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{os.path.basename(name)} is missing or was changed"):
            kerasft.load(finished[2])
    finally:
        path.write_bytes(whole)


def test_an_interrupted_run_goes_on_to_the_very_same_weights(make_tiny, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr("kerasft.training.checkpoint.SECONDS", 0)  # Its epochs take less, and would be done anew.

    def tuner():
        return FineTuner("text_classification", make_tiny("bert"), learning_rate=0.02, precision="float32")

    straight = tuner()
    whole = straight.fit(reviews, epochs=3, batch_size=4, directory=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        tuner().fit(reviews, epochs=3, batch_size=4, directory=tmp_path / "run", callbacks=[Crash(2)])
    with pytest.raises(UserError, match="epochs: was 3, now 4"):
        tuner().fit(reviews, epochs=4, batch_size=4, directory=tmp_path / "run")
    with pytest.raises(UserError, match="training data are others than when the run was interrupted: give the same"):
        tuner().fit(reviews[::-1], epochs=3, batch_size=4, directory=tmp_path / "run")
    anew = tuner()
    anew.fit(reviews, epochs=1, batch_size=4, directory=tmp_path / "run", resume="never")
    assert anew.directory == str(tmp_path / "run-2")
    resumed = tuner()
    history = resumed.fit(reviews, epochs=3, batch_size=4, directory=tmp_path / "run")
    assert history.history["loss"] == whole.history["loss"]
    for ours, theirs in zip(resumed.model.weights, straight.model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_leaving_for_plain_keras_at_any_step(make_tiny, reviews):
    tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS)
    tuner.model.compile("adam", tuner.task.loss(), metrics=tuner.task.metrics())
    history = tuner.model.fit(tuner.batches(reviews, training=True, batch_size=4), epochs=2, verbose=0)
    assert len(history.history["accuracy"]) == 2


def test_batches_are_in_the_order_of_the_data(make_tiny, reviews):
    tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS)
    texts = [row["text"] for row in reviews]
    expected = tuner.outputs(tuner.task.prepare(kerasft.data.base.load(reviews)))
    assert len({len(text.split()) for text in texts}) > 1
    np.testing.assert_allclose(
        tuner.model.predict(tuner.batches(reviews, batch_size=6), verbose=0), expected, atol=1e-6
    )


def test_batches_are_shuffled_anew_at_each_pass(make_tiny, reviews):
    tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS)
    batches = tuner.batches(reviews, training=True, batch_size=4)
    first, second = ([x["token_ids"].numpy().tolist() for x, _ in batches] for _ in range(2))
    assert first != second
    assert sorted(map(str, sum(first, []))) is not None and len(sum(first, [])) == len(sum(second, [])) == len(reviews)


def test_labels_must_be_known_before_the_model_is_built(nothing_loads):
    with pytest.raises(UserError, match="labels are not known yet"):
        FineTuner("text_classification", "x").model  # noqa: B018


@pytest.mark.parametrize("task", registry.names("tasks"))
@pytest.mark.parametrize("inputs", [None, 5, Image.new("RGB", (2, 2)), np.array("a")], ids=type)
def test_what_is_no_input_is_refused(nothing_loads, task, inputs):
    given = {"multi_task": {"tasks": {"stars": "text_regression"}}, "zero_shot_classification": {"labels": LABELS}}
    with pytest.raises(UserError, match="Give one input or a list of them .* or data as for fit. Received: "):
        FineTuner(task, "x", **given.get(task, {})).predict(inputs)


def test_a_path_is_data_and_a_string_a_text(make_tiny, tmp_path, recwarn):
    tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS)
    path = tmp_path / "reviews.csv"
    path.write_text("text\na good film\na dull film\n")
    expected = tuner.predict(["a good film", "a dull film"])["scores"]
    np.testing.assert_array_equal(tuner.predict(path)["scores"], expected)
    with pytest.raises(UserError, match="There is no file"):
        tuner.predict(Path("missing.csv"))
    assert not [warning for warning in recwarn if "name of a file" in str(warning.message)]
    for inputs in (str(path), ["a good film", str(path)]):
        with pytest.warns(
            UserWarning, match=r"name of a file, which is not read: give pathlib.Path\('.*reviews.csv'\)"
        ):
            assert len(tuner.predict(inputs)["scores"]) == (2 if isinstance(inputs, list) else 1)


def test_inputs_need_no_mapped_names(make_tiny):
    columns = {"text": "review", "label": "stars"}
    tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS, columns=columns)
    scores = tuner.predict(["a good film"])["scores"]
    np.testing.assert_array_equal(tuner.predict([{"review": "a good film"}])["scores"], scores)


def test_a_fit_a_prediction_and_an_export_leave_nothing_in_memory(make_tiny, reviews, tmp_path):
    """TensorFlow keeps what its operations call and custom gradients, and by them data, weights and optimizers."""

    def use():
        tuner = FineTuner("text_classification", make_tiny("bert"), labels=LABELS)
        tuner.fit(reviews[4:], validation_data=reviews[:4], epochs=1, batch_size=8, directory=tmp_path / "run")
        tuner.predict(["a good film"])
        tuner.export(tmp_path / "1")
        return weakref.ref(tuner.model)

    def graphs():
        gc.collect()
        gc.collect()  # What finalizers of the first let go of.
        return sum(type(found).__name__ == "FuncGraph" for found in gc.get_objects())

    before = graphs()
    model = use()
    assert graphs() <= before
    assert model() is None
