import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.tasks.text_regression import TextRegression

VALUES = {"awful": 100.0, "bad": 200.0, "fine": 400.0, "great": 900.0}
ROWS = [{"text": f"a {word} film {i}", "value": value + i} for i in range(6) for word, value in VALUES.items()]
OTHERS = [{**row, "text": f"so {row['text']}"} for row in ROWS]


@pytest.fixture(scope="module")
def trained(make_tiny, tmp_path_factory):
    tuner = FineTuner("text_regression", make_tiny("bert"), learning_rate=1e-2, precision="float32")
    tuner.fit(
        ROWS, validation_data=OTHERS, epochs=10, batch_size=8, directory=tmp_path_factory.mktemp("trained") / "run"
    )
    return tuner


def test_it_learns_in_the_unit_of_the_data(trained):
    answers = trained.predict([row["text"] for row in OTHERS])
    assert set(answers) == {"value"} and answers["value"].dtype == "float32"
    found = trained.evaluate(OTHERS)
    assert found["pearson"].value > 0.9 and found["r2"].value > 0.8
    error = np.abs(answers["value"] - [row["value"] for row in OTHERS]).mean()
    assert found["mean_absolute_error"].value == pytest.approx(error, rel=1e-5)
    assert max(trained.history["val_r2"]) == pytest.approx(found["r2"].value, abs=1e-5)


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    texts = ["a great film", "awful"]
    loaded = kerasft.load(trained.directory)
    assert (loaded.task.mean, loaded.task.deviation) == (trained.task.mean, trained.task.deviation)
    np.testing.assert_allclose(loaded.predict(texts)["value"], trained.predict(texts)["value"], rtol=1e-6)
    folder = trained.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(texts))
    np.testing.assert_allclose(served["value"], trained.predict(texts)["value"], rtol=1e-5)


def test_the_report_shows_answers_and_errors(trained):
    page = Path(trained.directory, "report.html").read_text()
    assert "How close the answers are" in page and "Largest errors" in page and "a great film" in page
    numbers = json.loads(Path(trained.directory, "metrics.json").read_text())
    assert numbers["examples"] == len(ROWS) and numbers["metrics"]["spearman"]["value"] > 0.8


@pytest.mark.parametrize(("weights", "name"), [({"method": "lora"}, "lora"), ({"pair": True}, "pair")])
def test_pairs_and_deltas(make_tiny, tmp_path, weights, name):
    rows = [{**row, "text_pair": row["text"]} if name == "pair" else row for row in ROWS]
    tuner = FineTuner("text_regression", make_tiny("bert"), learning_rate=1e-2, **weights)
    tuner.fit(rows, epochs=1, batch_size=8, directory=tmp_path / name)
    asked = [("a", "b")] if name == "pair" else ["a"]
    np.testing.assert_array_equal(kerasft.load(tmp_path / name).predict(asked)["value"].shape, (1,))


def test_targets_have_mean_0_and_deviation_1():
    task = TextRegression()
    frame = task.prepare(data_sources.load(ROWS))
    targets = task.targets(frame)
    assert targets.shape == (len(ROWS), 1) and targets.dtype == "float32"
    assert targets.mean() == pytest.approx(0, abs=1e-6) and targets.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(task.decode(targets)["value"], frame["value"], rtol=1e-6)


def test_given_scales_and_other_columns():
    task = TextRegression(mean=2.5, deviation=2.0, columns={"text": "sentence", "value": "score"})
    frame = task.prepare(data_sources.load(pd.DataFrame({"sentence": ["a", "b"], "score": ["4.5", " 0.5"]})))
    assert task.targets(frame).ravel().tolist() == [1.0, -1.0]
    assert task.learned == {"mean": 2.5, "deviation": 2.0}


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([1.0, "3,5"], "row 2: value is not a number"),
        ([1.0, None], "row 2: value is missing"),
        ([1.0, " "], "row 2: value is missing"),
        ([1.0, float("inf")], "row 2: value is not finite"),
        ([1.0, "nan"], "row 2: value is not finite"),
        ([1.0, True], "row 2: value is not a number"),
        ([1.0, [2.0]], "row 2: value is not a number"),
        ([3.0, 3], "every value is the same"),
    ],
)
def test_unusable_values_are_refused(values, part):
    rows = [{"text": "a", "value": value} for value in values]
    with pytest.raises(UserError, match=part):
        TextRegression().prepare(data_sources.load(rows))


@pytest.mark.parametrize(
    "arguments",
    [
        *({"mean": 1.0}, {"deviation": 1.0}, {"mean": 0.0, "deviation": 0.0}),
        *({"mean": float("nan"), "deviation": 1.0}, {"mean": "3", "deviation": "1"}),
    ],
)
def test_unusable_scales_are_refused(arguments):
    with pytest.raises(UserError, match="Received: mean="):
        TextRegression(**arguments)


def test_the_same_text_with_different_values_is_told():
    task = TextRegression()
    frame = task.prepare(data_sources.load([{"text": "a", "value": 1}, {"text": "a", "value": 2}]))
    ((problems, what),) = task.oddities(frame)
    assert len(problems) == 1 and "different values" in what


@pytest.mark.parametrize(
    "objective",
    ["label_smoothing", "focal", "class_balanced", "r_drop", {"name": "distillation", "teacher": "x"}]
    + [{"name": "pseudo_labels", "data": "x.csv"}, {"name": "adversarial", "kind": "smart"}],
)
def test_objectives_on_classes_are_refused(objective):
    with pytest.raises(UserError, match="answers are classes. Received: task=TextRegression"):
        FineTuner("text_regression", "bert_tiny_en_uncased", objectives=[objective])


@pytest.mark.slow
def test_other_objectives_go_with_it(make_tiny, tmp_path):
    objectives = ["l2_sp", "mixup", {"name": "adversarial", "kind": "fgm"}, "sam"]
    tuner = FineTuner("text_regression", make_tiny("bert"), objectives=objectives, learning_rate=1e-2)
    history = tuner.fit(ROWS, epochs=2, batch_size=8, directory=tmp_path / "run").history
    assert np.isfinite(history["loss"]).all() and {"mixup", "adversarial", "l2_sp"} <= set(history)


def test_the_scale_must_be_known_before_the_model(make_tiny):
    with pytest.raises(UserError, match="not known yet"):
        FineTuner("text_regression", make_tiny("bert")).model  # noqa: B018


def test_a_second_text_is_not_left_out_in_silence():
    rows = data_sources.load([{**row, "text_pair": "a film"} for row in ROWS])
    with pytest.warns(UserWarning, match="has a column text_pair, which is not read:\nit is read with pair=True"):
        TextRegression().prepare(rows)
    assert list(TextRegression(pair=True).prepare(rows)) == ["text", "text_pair", "value"]
