"""What every fine-tuning method must keep, whatever the task: the folders are walked, so new ones are met here."""

import numpy as np
import pytest

import kerasft
from kerasft import registry
from kerasft.fine_tuner import FineTuner

TASKS = {"text_classification": "bert", "image_classification": "efficientnet"}
ARGUMENTS = {"freeze": {"blocks": 1}}
CASES = [(method, task) for method in registry.names("methods") for task in TASKS]


def examples(task):
    random = np.random.default_rng(0)
    if task == "text_classification":
        return [{"text": f"{w} film {i}", "label": w} for i in range(8) for w in ("good", "bad")]
    return list(random.integers(0, 256, (16, 32, 32, 3), dtype="uint8")), ["good", "bad"] * 8


def inputs(task):
    return ["a good film", "bad"] if task == "text_classification" else examples(task)[0][:2]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def trained(request, make_tiny, tmp_path_factory):
    """Returns `(tuner after fit, task, scores before, weights before)`."""
    method, task = request.param
    assert task in registry.names("tasks")
    given = {"name": method, **ARGUMENTS.get(method, {})}
    untouched = FineTuner(task, make_tiny(TASKS[task]), "full", labels=["good", "bad"])
    tuner = FineTuner(task, make_tiny(TASKS[task]), given, labels=["good", "bad"], learning_rate=0.05)
    scores = untouched.predict(inputs(task))["scores"], tuner.predict(inputs(task))["scores"]
    before = {v.path: v.numpy().copy() for v in tuner.model.weights}
    directory = tmp_path_factory.mktemp("run") / "run"
    tuner.fit(examples(task), validation_split=0.25, epochs=1, batch_size=8, directory=directory)
    return tuner, task, scores, before


def test_changes_nothing_before_the_first_step(trained):
    _, _, (without, with_method), _ = trained
    np.testing.assert_allclose(with_method, without, atol=1e-6)


def test_moves_all_that_it_names_and_nothing_else(trained):
    tuner, _, _, before = trained
    moved = {v.path for v in tuner.model.weights if not np.array_equal(v.numpy(), before[v.path])}
    frozen = {v.path for layer in tuner.model.layers if not layer.trainable for v in layer.weights}
    assert not moved & frozen
    assert {v.path for v in tuner.model.trainable_weights} >= {p for p in moved if "moving_" not in p}
    assert "head/logits/kernel" in moved


def test_a_loaded_run_predicts_and_scores_the_same(trained):
    tuner, task, _, _ = trained
    loaded = kerasft.load(tuner.directory)
    ours, theirs = tuner.predict(inputs(task)), loaded.predict(inputs(task))
    np.testing.assert_array_equal(theirs["label"], ours["label"])
    np.testing.assert_allclose(theirs["scores"], ours["scores"], atol=1e-6)
    assert loaded.evaluate(examples(task))["accuracy"] == tuner.evaluate(examples(task))["accuracy"]


def test_an_export_answers_as_the_model_does(trained, tmp_path):
    tuner, _, _, _ = trained
    path = tuner.export(str(tmp_path / "1"))
    assert (tmp_path / "1" / "saved_model.pb").exists() and path == str(tmp_path / "1")
