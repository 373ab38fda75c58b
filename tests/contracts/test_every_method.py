"""What every fine-tuning method must keep, whatever the task: the folders are walked, so new ones are met here."""

import functools
import os
import re

import numpy as np
import pytest

import kerasft
from kerasft import deltas, registry, weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner

TASKS = {"text_classification": ["bert"], "image_classification": ["efficientnet", "vit"]}
ARGUMENTS = {
    "freeze": {"embeddings": True},
    "stages": {"stages": [{"method": "linear_probe", "epochs": 1}, {"method": "lora"}]},
}
METHODS = {name: registry.find("methods", name) for name in registry.names("methods")}
# The other methods reach into an image model by the same code.
QUICK_ON_IMAGES = ("full", "freeze", "lora")
CASES = [
    pytest.param((name, task), marks=[] if "text" in task or name in QUICK_ON_IMAGES else pytest.mark.slow)
    for name, method in METHODS.items()
    for task in TASKS
    if registry.find("tasks", task).modality in method.learning_rate
]


def examples(task):
    random = np.random.default_rng(0)
    if task == "text_classification":
        return [{"text": f"{w} film {i}", "label": w} for i in range(8) for w in ("good", "bad")]
    return list(random.integers(0, 256, (16, 32, 32, 3), dtype="uint8")), ["good", "bad"] * 8


def inputs(task):
    return ["a good film", "bad"] if task == "text_classification" else examples(task)[0][:2]


@pytest.fixture(scope="module")
def source_of(make_tiny, tmp_path_factory):
    """A function from a backbone's name to the backbone; BERT is a folder, whose runs are saved as deltas."""
    folder = str(tmp_path_factory.mktemp("preset"))
    pretrained = make_tiny("bert")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)
    return lambda name: folder if name == "bert" else make_tiny(name)


@pytest.fixture(scope="module")
def scores_without(source_of):
    """A function from task and backbone to the scores before any method and training."""

    @functools.cache
    def scores(task, backbone):
        return FineTuner(task, source_of(backbone), "full", labels=["good", "bad"]).predict(inputs(task))["scores"]

    return scores


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def trained(request, source_of, scores_without, tmp_path_factory):
    """Returns `(tuner after fit, task, scores before, weights before)`."""
    method, task = request.param
    given = {"name": method, **ARGUMENTS.get(method, {})}
    for backbone in TASKS[task]:
        tuner = FineTuner(task, source_of(backbone), given, labels=["good", "bad"], learning_rate=0.05)
        try:
            tuner.model  # noqa: B018
        except UserError as error:  # There is no attention in this backbone.
            assert re.search("No layer path matches|backbone has no", str(error))
        else:
            break
    scores = scores_without(task, backbone), tuner.predict(inputs(task))["scores"]
    before = {path: v.numpy().copy() for path, v in weights.by_path(tuner.model).items()}
    directory = tmp_path_factory.mktemp("run") / "run"
    # No validation: with it the weights of the best epoch come back, which may be of the stage before the last.
    tuner.fit(examples(task), epochs=2, batch_size=8, directory=directory)
    return tuner, task, scores, before


def test_changes_nothing_before_the_first_step(trained):
    tuner, _, (without, with_method), _ = trained
    if tuner.method.starts_as_pretrained:
        np.testing.assert_allclose(with_method, without, atol=1e-6)
    else:  # It says that it puts something in front of the text, quantizes or begins anew, and does.
        assert np.abs(with_method - without).max() > 1e-6


def test_moves_all_that_it_names_and_nothing_else(trained):
    tuner, _, _, before = trained
    moved = {path for path, v in weights.by_path(tuner.model).items() if not np.array_equal(v.numpy(), before[path])}
    assert {path for path in moved if "seed_generator" not in path} == set(weights.learned(tuner.model))
    assert "head/logits/kernel" in moved


def test_a_loaded_run_predicts_and_scores_the_same(trained):
    tuner, task, _, _ = trained
    loaded = kerasft.load(tuner.directory)
    ours, theirs = tuner.predict(inputs(task)), loaded.predict(inputs(task))
    np.testing.assert_array_equal(theirs["label"], ours["label"])
    np.testing.assert_allclose(theirs["scores"], ours["scores"], atol=1e-6)
    assert loaded.evaluate(examples(task))["accuracy"] == tuner.evaluate(examples(task))["accuracy"]


def test_a_folder_holds_what_was_learned_and_no_more(trained):
    tuner, _, _, _ = trained
    all_paths, learned = set(weights.by_path(tuner.model)), set(weights.learned(tuner.model))
    saved = weights.paths(os.path.join(tuner.directory, "weights.safetensors"))
    assert saved == (learned if isinstance(tuner.arguments["backbone"], str) else all_paths)


def test_merged_weights_give_the_same_outputs(trained):
    tuner, task, _, _ = trained
    before = tuner.predict(inputs(task))["scores"]
    with deltas.merged(tuner.model):
        np.testing.assert_allclose(tuner.predict(inputs(task))["scores"], before, atol=1e-5)


def test_an_export_answers_as_the_model_does(trained, tmp_path):
    tuner, _, _, _ = trained
    path = tuner.export(str(tmp_path / "1"))
    assert (tmp_path / "1" / "saved_model.pb").exists() and path == str(tmp_path / "1")
