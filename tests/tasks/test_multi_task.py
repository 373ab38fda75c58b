import json
import math
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kerasft
from benchmarks.export_parity import fresh_answers
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.tasks.multi_task import MultiTask
from kerasft.tasks.text_classification import TextClassification
from kerasft.tasks.text_regression import TextRegression
from tests import families

VERDICTS = {"awful": ("bad", 100.0), "dull": ("bad", 200.0), "fine": ("good", 400.0), "great": ("good", 900.0)}
BOTH = [
    {"text": f"a {word} film {i}", "verdict": verdict, "stars": stars + i, "tags": ["long"] * (i % 2) + [verdict]}
    for i in range(6)
    for word, (verdict, stars) in VERDICTS.items()
]
OTHERS = [{**row, "text": f"so {row['text']}"} for row in BOTH]
# Two tables, one below the other: each row has an answer for one task.
APART = [
    {"text": row["text"], **({"verdict": row["verdict"]} if n % 2 else {"stars": row["stars"]})}
    for n, row in enumerate(BOTH + OTHERS)
]
TASKS = {"verdict": "text_classification", "stars": "text_regression"}
WITH_TAGS = {**TASKS, "tags": {"name": "text_classification", "multi_label": True}}


def tuner_of(backbone, tasks=TASKS, **arguments):
    settings = {"learning_rate": 1e-2, "precision": "float32", **arguments}
    return FineTuner("multi_task", backbone, tasks=tasks, **settings)


@pytest.fixture(scope="module")
def trained(make_tiny, tmp_path_factory):
    tuner = tuner_of(make_tiny("bert"), WITH_TAGS)
    tuner.fit(
        BOTH, validation_data=OTHERS, epochs=16, batch_size=8, directory=tmp_path_factory.mktemp("trained") / "run"
    )
    return tuner


def test_several_labels_may_be_arrays(tmp_path):
    rows = pd.DataFrame({**row, "tags": np.array(row["tags"], object)} for row in BOTH)
    rows.to_parquet(tmp_path / "a.parquet")
    for data in (rows, tmp_path / "a.parquet"):
        task = MultiTask(tasks=WITH_TAGS)
        targets = task.targets(task.prepare(data_sources.load(data)))
        assert task.tasks["tags"].labels == ["bad", "good", "long"]
        expected = [[label in row["tags"] for label in ("bad", "good", "long")] for row in BOTH]
        assert targets[:, -3:].tolist() == expected


def test_each_task_learns(trained):
    found = trained.evaluate(OTHERS)
    assert found["verdict_accuracy"].value > 0.9
    assert found["stars_pearson"].value > 0.9
    assert found["tags_micro_f1"].value > 0.6
    answers = trained.predict([row["text"] for row in BOTH])
    assert answers["verdict_label"].tolist() == [row["verdict"].encode() for row in BOTH]
    assert set(answers) == {
        *("verdict_label", "verdict_score", "verdict_scores", "stars_value"),
        *("tags_label", "tags_score", "tags_scores"),
    }
    assert {"val_loss", "val_verdict_accuracy", "val_stars_r2", "val_tags_accuracy"} <= set(trained.history)
    assert max(trained.history["val_verdict_accuracy"]) == pytest.approx(found["verdict_accuracy"].value)


def assert_close(values, expected):
    if expected.dtype == object:
        assert values.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_it_is_saved_loaded_and_exported_with_a_signature_a_task(trained, tmp_path):
    texts = ["a great film", "awful"]
    expected = trained.predict(texts)
    loaded = kerasft.load(trained.directory)
    assert loaded.task.get_config() == trained.task.get_config()
    for name, values in loaded.predict(texts).items():
        assert_close(values, expected[name])
    folder = trained.export(str(tmp_path / "1"))
    signatures = tf.saved_model.load(folder).signatures
    assert set(signatures) == {"serving_default", "verdict", "stars", "tags"}
    for name, beginning in (("serving_default", ""), ("verdict", "verdict_"), ("stars", "stars_"), ("tags", "tags_")):
        served = signatures[name](text=tf.constant(texts))
        assert {f"{beginning}{key}" for key in served} == {key for key in expected if key.startswith(beginning)}
        for key, values in served.items():
            assert_close(values.numpy(), expected[f"{beginning}{key}"])
    (answers,) = fresh_answers([(folder, trained.task.request(trained.task.frame_of(texts)))])
    for found in answers.values():
        assert found["verdict_label"].tolist() == expected["verdict_label"].tolist()


def test_the_report_has_all_tasks(trained):
    trained.evaluate(BOTH)
    page = Path(trained.directory, "report.html").read_text()
    for words in ("How close the answers are", "What is taken for what", "verdict: of 24 texts right", "stars: "):
        assert words in page
    numbers = json.loads(Path(trained.directory, "metrics.json").read_text())
    assert numbers["examples"] == 24
    assert set(numbers["tasks"]) == set(WITH_TAGS)
    assert numbers["metrics"]["stars_spearman"]["value"] > 0.8


def test_rows_with_an_answer_for_one_task_alone(make_tiny, tmp_path):
    tuner = tuner_of(make_tiny("bert"))
    tuner.fit(APART, epochs=8, batch_size=8, directory=tmp_path / "run")
    found = tuner.evaluate(APART)
    assert found["verdict_accuracy"].value > 0.9
    assert found["stars_pearson"].value > 0.8
    assert np.isfinite(tuner.history["loss"]).all()
    one = tuner.evaluate([row for row in APART if "verdict" in row])
    assert {name.split("_")[0] for name in one} == {"verdict"}


def test_the_loss_is_the_weighted_sum_over_the_answers_there_are():
    task = MultiTask(
        {
            "verdict": {"name": "text_classification", "labels": ["a", "b", "c"]},
            "stars": {"name": "text_regression", "mean": 0.0, "deviation": 1.0},
            "tags": {"name": "text_classification", "labels": ["x", "y"], "multi_label": True},
        },
        weights={"stars": 0.5, "tags": 2.0},
    )
    nan = math.nan
    targets = np.array([[2, 1.5, 1, 0], [nan, 0.5, nan, nan], [0, nan, nan, nan]], "float32")
    outputs = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    with tf.GradientTape() as tape:
        given = tf.constant(outputs)
        tape.watch(given)
        losses = task.loss().call(tf.constant(targets), given)
    log_softmax = outputs[:, :3] - np.log(np.exp(outputs[:, :3]).sum(1, keepdims=True))
    squares = (outputs[:, 3] - targets[:, 1]) ** 2
    sigmoid = 1 / (1 + np.exp(-outputs[0, 4:]))
    binary = -(np.log(sigmoid[0]) + np.log(1 - sigmoid[1])) / 2
    expected = [-log_softmax[0, 2] + 0.5 * squares[0] + 2 * binary, 0.5 * squares[1], -log_softmax[2, 0]]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    gradient = tape.gradient(losses, given).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[1, [0, 1, 2, 4, 5]] == 0).all() and (gradient[2, 3:] == 0).all()


def test_a_single_task_is_what_it_is_alone(make_tiny, tmp_path):
    rows = [{"text": row["text"], "label": row["verdict"]} for row in BOTH]
    settings = {"precision": "float32", "learning_rate": 1e-3, "seed": 3}
    alone = FineTuner("text_classification", make_tiny("bert"), **settings)
    alone.fit(rows, epochs=2, batch_size=8, directory=tmp_path / "alone")
    tuner = tuner_of(make_tiny("bert"), {"label": "text_classification"}, **settings)
    tuner.fit(rows, epochs=2, batch_size=8, directory=tmp_path / "one")
    texts = [row["text"] for row in rows]
    np.testing.assert_allclose(tuner.predict(texts)["label_scores"], alone.predict(texts)["scores"], atol=1e-6)
    ours, theirs = tuner.evaluate(rows), alone.evaluate(rows)
    assert {name.removeprefix("label_"): value for name, value in ours.items()} == theirs


def test_pairs_deltas_and_names_of_the_data(make_tiny, tmp_path):
    rows = [{"first": row["text"], "text_pair": "so", "grade": row["stars"], "verdict": row["verdict"]} for row in BOTH]
    columns = {"text": "first", "stars": "grade"}
    tuner = tuner_of(make_tiny("bert"), method="lora", pair=True, columns=columns)
    tuner.fit(rows, validation_split=0.25, epochs=1, batch_size=8, directory=tmp_path / "run")
    assert kerasft.load(tmp_path / "run").predict([("a", "b")])["stars_value"].shape == (1,)


@pytest.mark.parametrize("family", families.quick_ones(("gpt2", "roberta", "distil_bert", "deberta_v3"), "roberta"))
def test_other_backbones(family, tmp_path):
    tuner = tuner_of(families.make(family))
    tuner.fit(BOTH, epochs=1, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(tuner.predict(["a film"])["stars_value"]).all()


def test_a_recipe_from_the_shell(make_tiny, tmp_path):
    pretrained = make_tiny("bert")
    pretrained.backbone.save_to_preset(str(tmp_path / "preset"))
    pretrained.converter.save_to_preset(str(tmp_path / "preset"))
    pd.DataFrame(BOTH)[["text", "verdict", "stars"]].to_csv(tmp_path / "train.csv", index=False)
    recipe = {"task": {"name": "multi_task", "tasks": TASKS, "weights": {"stars": 0.5}}, "backbone": "preset"}
    (tmp_path / "recipe.yaml").write_text(json.dumps({**recipe, "data": "train.csv", "epochs": 1, "directory": "run"}))
    run = [sys.executable, "-m", "kerasft"]
    made = subprocess.run([*run, "fit", "recipe.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    done = subprocess.run(
        [*run, "predict", "run", "a great film"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["text"] == "a great film"
    assert answer["verdict_label"] in ("good", "bad")
    assert isinstance(answer["stars_value"], float)


@pytest.mark.parametrize(("temperature", "shares"), [(1, None), (2, (2 / 3, 1 / 3)), (math.inf, (1 / 2, 1 / 2))])
def test_rows_of_a_rare_task_are_met_more_often(make_tiny, temperature, shares):
    rows = [row for row in APART if "verdict" in row] + [row for row in APART if "stars" in row][:6]
    tuner = tuner_of(make_tiny("bert"), temperature=temperature)
    frame = tuner.task.prepare(data_sources.load(rows))
    draws = tuner.task.examples(frame, tuner.preprocessor).draws
    if shares is None:
        assert draws is None
    else:  # There are 24 verdicts and 6 stars: roots as 2 to 1.
        np.testing.assert_allclose((draws[:24].sum(), draws[24:].sum()) / draws.sum(), shares)
        np.testing.assert_allclose(draws[:24], draws[0])
    assert tuner.task.get_config()["temperature"] == temperature


def test_a_training_with_a_temperature(make_tiny, tmp_path):
    tuner = tuner_of(make_tiny("bert"), temperature=math.inf)
    tuner.fit(APART, validation_split=0.25, epochs=1, batch_size=8, directory=tmp_path / "run")
    assert kerasft.load(tmp_path / "run").task.temperature == math.inf


# === What is refused ===


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({}, "tasks must be a dict"),
        (["text_classification"], "tasks must be a dict"),
        ({"a": "image_classification"}, "'a' must be one of text_classification, text_regression"),
        ({"a": TextRegression()}, "'a' must be one of"),
        ({"a": {"name": "text_regression", "pair": True}}, "are given once for all"),
        ({"a": {"name": "text_regression", "labels": ["x"]}}, "labels"),
        ({"text": "text_regression"}, "needs a name of its own"),
        ({"my stars": "text_regression"}, "needs a name of its own"),
        ({"a": "text_regression", "a_b": "text_regression"}, "may not begin with another's"),
    ],
)
def test_tasks_that_cannot_be(tasks, words):
    with pytest.raises(UserError, match=f"(?s){words}.*Received"):
        MultiTask(tasks)


@pytest.mark.parametrize("weights", [{"other": 1}, {"stars": -1}, {"stars": "1"}, {"verdict": 0, "stars": 0}, [1, 2]])
def test_weights_that_cannot_be(weights):
    with pytest.raises(UserError, match="weights must be a dict of numbers, 0 or more, of verdict, stars. Received"):
        MultiTask(TASKS, weights)


@pytest.mark.parametrize("temperature", [0.5, "2", True, math.nan])
def test_temperatures_that_cannot_be(temperature):
    with pytest.raises(UserError, match="multi_task: temperature must be 1 or more. Received: temperature="):
        MultiTask(TASKS, temperature=temperature)


def prepare(rows, tasks=TASKS, **arguments):
    return MultiTask(tasks, **arguments).prepare(data_sources.load(rows))


def test_a_row_without_any_answer_is_named():
    with pytest.raises(UserError, match=r"row 2: verdict has no answer, nor has any other task"):
        prepare([BOTH[0], {"text": "a film"}, BOTH[-1]])


def test_a_value_that_is_none_is_named_with_its_task():
    with pytest.raises(UserError, match=r"stars, row 3: value .*soon"):
        prepare([*BOTH[:2], {"text": "a film", "stars": "soon"}, *BOTH[2:]])


def test_a_column_that_is_not_there():
    with pytest.raises(UserError, match="has no column 'stars'"):
        prepare([{"text": "a", "verdict": "good"}])
    with pytest.raises(UserError, match="row 1: verdict has no answer"):
        prepare([{"text": "a"}], {"verdict": {"name": "text_classification", "labels": ["good", "bad"]}})


def test_a_task_that_nothing_is_said_of_is_warned_of(make_tiny, tmp_path):
    tasks = {**TASKS, "other": {"name": "text_classification", "labels": ["x", "y"]}}
    with pytest.warns(UserWarning, match=r"(?s)no answer for these tasks.*other"):
        tuner_of(make_tiny("bert"), tasks).fit(BOTH, epochs=1, directory=tmp_path / "run")


def test_labels_in_validation_that_training_lacks():
    task = MultiTask(TASKS)
    task.prepare(data_sources.load(BOTH))
    with pytest.raises(UserError, match=r"verdict, row 1: label .*splendid"):
        task.prepare(data_sources.load([{"text": "a film", "verdict": "splendid"}]))


def test_prediction_needs_what_is_learned():
    with pytest.raises(UserError, match="labels are not known yet"):
        MultiTask(TASKS).check_learned()


def test_what_is_prepared_and_its_targets():
    task = MultiTask(WITH_TAGS)
    frame = task.prepare(data_sources.load(APART + BOTH))
    assert len(frame) == len(APART) + len(BOTH)
    targets = task.targets(frame)
    assert targets.shape == (len(frame), 1 + 1 + len(task.tasks["tags"].labels))
    assert np.isnan(targets[0, 0]) and not np.isnan(targets[0, 1])
    assert not np.isnan(targets[-1]).any()
    assert isinstance(task.tasks["verdict"], TextClassification)
    assert task.places == [(slice(0, 1), slice(0, 2)), (slice(1, 2), slice(2, 3)), (slice(2, 5), slice(3, 6))]


def test_metrics_count_the_rows_with_an_answer():
    task = MultiTask({"verdict": {"name": "text_classification", "labels": ["a", "b"]}, "stars": "text_regression"})
    accuracy, _ = task.metrics()
    outputs = tf.constant([[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    accuracy.update_state(tf.constant([[0.0, 1], [1.0, 1], [math.nan, 1]]), outputs)
    assert float(accuracy.result()) == 0.5
    accuracy.update_state(tf.constant([[1.0, 1]]), outputs[:1], sample_weight=tf.constant([0.0]))
    assert float(accuracy.result()) == 0.5
    accuracy.reset_state()
    assert float(accuracy.result()) == 0.0
    assert isinstance(accuracy, keras.metrics.Metric) and accuracy.name == "verdict_accuracy"
