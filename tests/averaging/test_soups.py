import csv
import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

import kerasft
from kerasft import deltas, recipe, weights
from kerasft.averaging import greedy_soup, uniform_soup
from kerasft.averaging import result as averages
from kerasft.errors import UserError
from kerasft.evaluation.bootstrap import Estimate
from kerasft.pipeline import answers
from tests.averaging.conftest import ROWS

TEXTS = [row["text"] for row in ROWS]


def saved(directory):
    return load_file(os.path.join(directory, "weights.safetensors"))


@pytest.mark.parametrize("method", ["full", {"name": "freeze", "blocks": 1}, "adapter"], ids=["full", "freeze", "own"])
def test_a_uniform_soup_is_the_mean_of_the_weights(make_run, tmp_path, method):
    runs = [make_run(seed, method) for seed in range(3)]
    result = uniform_soup(runs, tmp_path / "soup", ROWS, shifted=ROWS[:6])
    ingredients, soup = [saved(run) for run in runs], saved(result.directory)
    assert soup.keys() == ingredients[0].keys()
    for path, value in soup.items():
        np.testing.assert_allclose(value, np.mean([one[path] for one in ingredients], axis=0), rtol=1e-5, atol=1e-7)


def test_the_result_is_an_ordinary_run(make_run, tmp_path):
    runs = [make_run(seed, {"name": "freeze", "blocks": 1}) for seed in range(2)]
    result = uniform_soup(runs, tmp_path / "soup", ROWS, shifted=ROWS[:6])
    loaded = kerasft.load(result.directory)
    row = result.rows[-1]
    assert row["run"] == "uniform soup" and [r["averaged"] for r in result.rows] == ["yes", "yes", ""]
    assert loaded.evaluate(ROWS)["accuracy"] == row["validation accuracy"]
    assert loaded.evaluate(ROWS[:6])["accuracy"] == row["shifted accuracy"]
    for run, line in zip(runs, result.rows, strict=False):
        assert kerasft.load(run).evaluate(ROWS)["accuracy"] == line["validation accuracy"]
    made, first = (recipe.read(os.path.join(folder, "recipe.yaml")) for folder in (result.directory, runs[0]))
    assert made == first
    with open(os.path.join(result.directory, "manifest.json"), encoding="utf-8") as file:
        assert json.load(file)["facts"]["averaged"] == f"uniform soup of {runs[0]}, {runs[1]} (2 of 2 runs)"
    with open(os.path.join(result.directory, "averages.csv"), encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert float(lines[-1]["shifted accuracy high"]) == row["shifted accuracy"].high
    loaded.export(str(tmp_path / "1"))


def test_low_rank_updates_are_merged_before_they_are_averaged(make_run, tmp_path):
    """The mean of the kernels by hand: those of the base and the mean of `scale * a @ b`; not the factors' means."""
    runs = [make_run(seed, {"name": "lora", "rank": 2, "layers": "query$|value$"}) for seed in range(2)]
    result = uniform_soup(runs, tmp_path / "soup", ROWS)
    ingredients, soup, loaded = [saved(run) for run in runs], saved(result.directory), kerasft.load(result.directory)
    assert loaded.arguments["method"] == "full" and not deltas.of(loaded.model)
    base = weights.by_path(kerasft.FineTuner(**{**kerasft.load(runs[0]).arguments, "method": "full"}).model)
    targets = [path.removesuffix("/lora/a") for path in ingredients[0] if path.endswith("/lora/a")]
    assert len(targets) == 4  # Queries and values of two blocks.
    for path in targets:
        changes = [2 * np.einsum("ir,rho->iho", one[f"{path}/lora/a"], one[f"{path}/lora/b"]) for one in ingredients]
        expected = base[f"{path}/kernel"].numpy() + np.mean(changes, axis=0)
        np.testing.assert_allclose(soup[f"{path}/kernel"], expected, rtol=1e-5, atol=1e-6)
    untouched = [path for path in soup if not any(path.startswith(target) for target in targets) and "head" not in path]
    assert untouched
    for path in untouched:
        np.testing.assert_array_equal(soup[path], base[path].numpy())


@pytest.mark.parametrize(
    ("scores", "members"),
    [
        # Alone 0.6, 0.9, 0.8; then 1 with 2; then 1 (and 2) with 0.
        ([0.6, 0.9, 0.8, 0.9, 0.89], [1, 2]),
        ([0.6, 0.9, 0.8, 0.89, 0.95], [1, 0]),
        ([0.6, 0.9, 0.8, 0.91, 0.91], [1, 2, 0]),
        ([0.6, 0.9, 0.8, 0.1, 0.2], [1]),
    ],
)
def test_a_greedy_soup_takes_what_does_not_make_it_worse(make_run, tmp_path, monkeypatch, scores, members):
    runs, told = [make_run(seed, "linear_probe") for seed in range(3)], iter([*scores, 0.5])

    def scored(average):
        average.evaluations = {"validation": average.tuner._evaluate(average.frames["validation"])}
        value = next(told)
        return {"validation": Estimate(value, value, value)}

    monkeypatch.setattr(averages.Average, "scores", scored)
    result = greedy_soup(runs, tmp_path / "soup", ROWS)
    assert [row["averaged"] for row in result.rows] == ["yes" if i in members else "no" for i in range(3)] + [""]
    ingredients, soup = [saved(runs[i]) for i in members], saved(result.directory)
    for path, value in soup.items():
        np.testing.assert_allclose(value, np.mean([one[path] for one in ingredients], axis=0), rtol=1e-5, atol=1e-7)


def test_a_greedy_soup_is_no_worse_than_the_best_run(make_run, tmp_path):
    rows = greedy_soup([make_run(seed, noise=0.3) for seed in range(4)], tmp_path / "soup", ROWS).rows
    assert rows[-1]["validation accuracy"].value >= max(row["validation accuracy"].value for row in rows[:-1])


def test_statistics_of_batch_norm_are_those_of_the_averaged_weights(make_run, make_tiny, tmp_path):
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (12, 32, 32, 3), dtype="uint8"), ["negative", "positive"] * 6
    runs = []
    for seed in range(2):
        tuner = kerasft.FineTuner("image_classification", make_tiny("efficientnet"), labels=["negative", "positive"])
        for variable in tuner.model.trainable_variables:
            variable.assign(variable.numpy() + random.normal(0, 0.05, variable.shape))
        runs.append(str(tmp_path / f"run{seed}"))
        tuner.save(runs[-1])
    with pytest.raises(UserError, match=r"trained BatchNorm.* Received: train=None"):
        uniform_soup(runs, tmp_path / "soup", (images, labels))
    uniform_soup(runs, tmp_path / "soup", (images, labels), train=(images, labels))
    loaded = kerasft.load(tmp_path / "soup")
    layer = next(layer for layer in loaded.model.layers if type(layer).__name__ == "BatchNormalization")
    import keras

    before = keras.Model(loaded.model.input, layer.input)
    (batch, _), *others = loaded.batches((images, labels))
    assert not others
    seen = before(batch).numpy()
    np.testing.assert_allclose(layer.moving_mean.numpy(), seen.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), seen.var(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "history",
    [pytest.param({"loss": [1.0]}, marks=pytest.mark.slow), {"loss": [1.0], "val_loss": [1.0]}],
    ids=["given", "chosen"],
)
def test_the_threshold_of_answers_is_chosen_anew_if_fit_chose_it(preset, tmp_path, history):
    answer = {"text": "great", "start": 13}
    rows = [{"question": "the film ?", "context": "the film was great .", "answers": [answer]}]
    rows += [{"question": "the actor ?", "context": "the film was good .", "answers": []}]
    tuner = kerasft.FineTuner("question_answering", preset, "linear_probe", no_answer=True, threshold=77.0)
    runs = []
    for seed in range(2):
        for variable in tuner.model.head.weights:
            variable.assign(np.random.default_rng(seed).normal(size=variable.shape))
        tuner.history = history
        runs.append(str(tmp_path / f"run{seed}"))
        tuner.save(runs[-1])
    soup = kerasft.load(uniform_soup(runs, tmp_path / "soup", rows).directory)
    frame = soup.frames(rows)[0]
    chosen = answers.best_threshold(soup.task.targets(frame), soup.outputs(frame))
    assert soup.task.threshold == pytest.approx(chosen if "val_loss" in history else 77.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"method": "linear_probe"}, "another method. Received: 'linear_probe' and 'full'"),
        ({"labels": ["positive", "negative"]}, "another list of labels"),
        ({"sequence_length": 16}, "another task. Received: sequence_length: 16 and None"),
    ],
)
def test_runs_that_differ_are_refused(make_run, tmp_path, other, message):
    one, two = make_run(0), make_run(1, **other)
    with pytest.raises(UserError, match=rf"run1 cannot be averaged with .*run0: {message}"):
        uniform_soup([one, two], tmp_path / "soup", ROWS)
    assert not (tmp_path / "soup").exists()


def test_low_rank_updates_of_another_scale_are_refused(make_run, tmp_path):
    runs = [make_run(seed, {"name": "lora", "rank": 2, "alpha": 2 + seed}) for seed in range(2)]
    with pytest.raises(UserError, match="another method. Received: alpha: 3 and 2"):
        uniform_soup(runs, tmp_path / "soup", ROWS)


def test_what_cannot_be_averaged_is_refused(make_run, tmp_path):
    one, two = make_run(0, "linear_probe"), make_run(1, "linear_probe")
    for runs in ([], [one], [one, one]):
        with pytest.raises(UserError, match="two or more different runs. Received: "):
            uniform_soup(runs, tmp_path / "soup", ROWS)
    with pytest.raises(UserError, match="No finished run in this folder"):
        greedy_soup([one, tmp_path], tmp_path / "soup", ROWS)
    before = os.listdir(two)
    with pytest.raises(UserError, match="There is something here already"):
        uniform_soup([one, two], two, ROWS)
    assert os.listdir(two) == before
