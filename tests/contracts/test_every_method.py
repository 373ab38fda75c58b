"""What every fine-tuning method must keep, whatever the task: the folders are walked, so new ones are met here."""

import functools
import os
import re

import numpy as np
import pytest

import kerasft
from kerasft import deltas, registry, weights
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from tests import families
from tests.contracts.cases import TASKS

ARGUMENTS = {
    "freeze": {"embeddings": True},
    "stages": {"stages": [{"method": "linear_probe", "epochs": 1}, {"method": "lora"}]},
}
METHODS = {name: registry.find("methods", name) for name in registry.names("methods")}
# The other methods reach into the models of other tasks by the same code as into that of text_classification.
QUICK = {"image_classification": ("full", "freeze", "lora"), "token_classification": ("lora",)}
CASES = [
    pytest.param(
        (name, task), marks=[] if name in QUICK.get(task, METHODS if "text_cl" in task else ()) else pytest.mark.slow
    )
    for name, method in METHODS.items()
    for task, case in TASKS.items()
    if registry.find("tasks", task).modality in method.learning_rate
    if case.needs_head or name not in ("linear_probe", "lp_ft", "gradual_unfreeze", "stages")
    if task != "seq2seq" or name not in ("prompt_tuning", "prefix_tuning")
]


def outputs(tuner, examples):
    """Returns the raw outputs of a few examples as one array."""
    frame = tuner.task.prepare(data_sources.load(examples)).head(2)
    made = tuner.outputs(frame)
    return np.asarray(getattr(made, "flat_values", made))


@pytest.fixture(scope="module")
def source_of(make_tiny, tmp_path_factory):
    """A function from a backbone's name to the backbone; BERT is a folder, whose runs are saved as deltas."""
    folder = str(tmp_path_factory.mktemp("preset"))
    pretrained = make_tiny("bert")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)

    def source(name):
        if name in families.ENCODER_DECODERS:
            return families.make(name)
        return folder if name == "bert" else make_tiny(name)

    return source


@pytest.fixture(scope="module")
def outputs_without(source_of):
    """A function from task and backbone to the outputs before any method and training."""

    @functools.cache
    def made(task, backbone):
        tuner = FineTuner(task, source_of(backbone), "full", **TASKS[task].arguments)
        return outputs(tuner, TASKS[task].examples)

    return made


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def trained(request, source_of, outputs_without, tmp_path_factory):
    """Returns `(tuner after fit, its examples, outputs before, weights before)`."""
    method, task = request.param
    given, case = {"name": method, **ARGUMENTS.get(method, {})}, TASKS[task]
    for backbone in case.backbones:
        tuner = FineTuner(task, source_of(backbone), given, learning_rate=0.05, **case.arguments)
        try:
            tuner.model  # noqa: B018
        except UserError as error:  # There is no attention in this backbone.
            assert re.search("No layer path matches|backbone has no", str(error))
        else:
            break
    before = outputs_without(task, backbone), outputs(tuner, case.examples)
    values = {path: v.numpy().copy() for path, v in weights.by_path(tuner.model).items()}
    directory = tmp_path_factory.mktemp("run") / "run"
    # No validation: with it the weights of the best epoch come back, which may be of the stage before the last.
    tuner.fit(case.examples, epochs=2, batch_size=8, directory=directory)
    return tuner, case.examples, before, values


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
    assert any(path.startswith("head/") for path in moved) or not tuner.model.head.weights


def test_a_loaded_run_answers_and_scores_the_same(trained):
    tuner, examples, _, _ = trained
    loaded = kerasft.load(tuner.directory)
    np.testing.assert_allclose(outputs(loaded, examples), outputs(tuner, examples), atol=1e-6)
    theirs, ours = loaded.evaluate(examples), tuner.evaluate(examples)
    assert {name: str(value) for name, value in theirs.items()} == {name: str(value) for name, value in ours.items()}


def test_a_folder_holds_what_was_learned_and_no_more(trained):
    tuner, _, _, _ = trained
    all_paths, learned = set(weights.by_path(tuner.model)), set(weights.learned(tuner.model))
    saved = weights.paths(os.path.join(tuner.directory, "weights.safetensors"))
    assert saved == (learned if isinstance(tuner.arguments["backbone"], str) else all_paths)


def test_merged_weights_give_the_same_outputs(trained):
    tuner, examples, _, _ = trained
    before = outputs(tuner, examples)
    with deltas.merged(tuner.model):
        np.testing.assert_allclose(outputs(tuner, examples), before, atol=1e-5)


def test_an_export_answers_as_the_model_does(trained, tmp_path):
    tuner, _, _, _ = trained
    path = tuner.export(str(tmp_path / "1"))
    assert (tmp_path / "1" / "saved_model.pb").exists() and path == str(tmp_path / "1")
