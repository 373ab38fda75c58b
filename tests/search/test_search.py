import csv
import json
import math
import os
import types

import keras_tuner
import pytest

from kerasft import recipe as recipes
from kerasft.errors import UserError
from kerasft.search import trials
from kerasft.search.hyper_model import HyperModel
from kerasft.search.search import search


@pytest.fixture
def fits(monkeypatch, tiny_bert):
    """Replaces building and fitting by a formula, as a fit takes seconds; gives the list of those that were made.

    The best learning rate is 1e-3, and one block frozen is better than none, by little.
    """
    made = []

    def fit(self, hp, model, directory=None, epochs=None, **kwargs):
        values = self.values(hp)
        made.append(values | {"directory": directory, "epochs": epochs})
        os.makedirs(os.path.join(directory, "logs"))
        with open(os.path.join(directory, "weights.safetensors"), "wb") as file:
            file.write(b"x" * 1000)
        distance = abs(math.log10(values.get("learning_rate", 1e-3)) + 3)
        score = 0.9 - 0.2 * distance + 0.01 * values.get("method.blocks", 0)
        return types.SimpleNamespace(history={"val_accuracy": [score - 0.1, score, score - 0.2]})

    monkeypatch.setattr("kerasft.presets.base.resolve", lambda identifier: tiny_bert)
    monkeypatch.setattr(HyperModel, "build", lambda self, hp: None)
    monkeypatch.setattr(HyperModel, "fit", fit)
    return made


def test_trials_are_ranked_and_the_best_recipe_is_written(recipe, tmp_path, fits):
    result = search(recipe, trials=5, directory=tmp_path / "s")
    assert [row["rank"] for row in result.trials] == [1, 2, 3, 4, 5]
    scores = [row["val_accuracy"] for row in result.trials]
    assert scores == sorted(scores, reverse=True)
    best = max(fits, key=lambda made: -abs(math.log10(made["learning_rate"]) + 3) + 0.05 * made["method.blocks"])
    assert result.trials[0]["learning_rate"] == best["learning_rate"]
    assert result.score == scores[0]
    assert result.score == pytest.approx(
        0.9 - 0.2 * abs(math.log10(best["learning_rate"]) + 3) + 0.01 * best["method.blocks"]
    )
    assert all(row["seconds"] >= 0 and row["error"] is None for row in result.trials)
    assert all(1e-4 <= made["learning_rate"] <= 1e-2 and made["method.blocks"] in (0, 1) for made in fits)
    with open(tmp_path / "s" / "trials.csv", encoding="utf-8", newline="") as file:
        assert [float(row["val_accuracy"]) for row in csv.DictReader(file)] == scores


def test_the_best_recipe_has_no_ranges_and_its_command_on_top(recipe, tmp_path, fits):
    recipe["data"], rows = str(tmp_path / "r.jsonl"), recipe["data"]
    with open(recipe["data"], "w", encoding="utf-8") as file:
        file.writelines(f'{{"text": "{row["text"]}", "label": "{row["label"]}"}}\n' for row in rows)
    result = search(recipe, trials=2, directory=tmp_path / "s")
    path = tmp_path / "s" / "best_recipe.yaml"
    best = recipes.read(path)
    assert best == result.best
    assert list(best) == list(recipe)
    assert best["method"] == {"name": "freeze", "blocks": result.trials[0]["method.blocks"]}
    assert (best["data"], best["validation_split"], best["epochs"]) == (recipe["data"], 0.25, 1)
    top = path.read_text(encoding="utf-8").splitlines()[:2]
    assert top == [f"# val_accuracy {result.score:.4f}, number 1 of 2 trials", f"# kerasft fit {path}"]


def test_of_a_trial_only_the_logs_stay(recipe, tmp_path, fits):
    search(recipe, trials=2, directory=tmp_path / "s")
    assert [os.listdir(tmp_path / "s" / f"trial_{number}") for number in (0, 1)] == [["logs"], ["logs"]]
    assert not list((tmp_path / "s").rglob("*.h5"))


@pytest.mark.parametrize("name", ["grid", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_other_tuners(recipe, tmp_path, fits, name):
    recipe["learning_rate"] = {"choice": [1e-4, 1e-3]} if name == "grid" else recipe["learning_rate"]
    result = search(recipe, tuner=name, trials=5, directory=tmp_path / "s")
    assert len(result.trials) == (4 if name == "grid" else 5)
    assert len({(made["learning_rate"], made["method.blocks"]) for made in fits}) == len(fits)
    if name == "grid":
        assert (result.best["learning_rate"], result.best["method"]["blocks"]) == (1e-3, 1)


def test_a_grid_is_tried_as_a_whole(recipe, tmp_path, fits):
    recipe["learning_rate"] = {"choice": [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]}
    assert len(search(recipe, tuner="grid", directory=tmp_path / "s").trials) == 12


def test_hyperband_fits_the_best_anew_with_more_epochs(recipe, tmp_path, fits):
    result = search(recipe | {"epochs": 3}, tuner="hyperband", directory=tmp_path / "s")
    epochs = [made["epochs"] for made in fits]
    assert set(epochs) == {1, 3}
    assert [row["epochs"] for row in sorted(result.trials, key=lambda row: row["trial"])] == epochs
    short = [made for made in fits if made["epochs"] == 1]
    best = max(short, key=lambda made: -abs(math.log10(made["learning_rate"]) + 3) + 0.05 * made["method.blocks"])
    assert any(made["epochs"] == 3 and made["learning_rate"] == best["learning_rate"] for made in fits)
    assert result.best["epochs"] == result.trials[0]["epochs"]


def test_hyperband_knows_the_most_epochs(recipe, tmp_path, fits):
    variants = {"variant": {"choice": [{"epochs": 9}, {"method": "full"}]}}
    for given, received in (({"epochs": {"choice": [2, 3]}}, r"\{'choice': \[2, 3\]\}"), (variants, r"\[9, None\]")):
        with pytest.raises(UserError, match=f"epochs must be one whole number, .* Received: epochs={received}"):
            search(recipe | given, tuner="hyperband", directory=tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("epochs", "first", "needed"), [(3, 3, 3), pytest.param(9, 9, 10, marks=pytest.mark.slow)])
def test_hyperband_can_end_its_first_rung_or_does_not_begin(recipe, tmp_path, fits, epochs, first, needed):
    recipe |= {"epochs": epochs, "method": "full"}
    rates = [1e-4 * (1 + number) for number in range(needed)]
    few = recipe | {"learning_rate": {"choice": rates[:-1]}}
    message = f"begins with {first} combinations .*, of {needed} at least.* Received: {needed - 1} combinations"
    with pytest.raises(UserError, match=message):
        search(few, tuner="hyperband", directory=tmp_path / "s")
    search(recipe | {"learning_rate": {"choice": rates}}, tuner="hyperband", directory=tmp_path / "s")
    assert [made["epochs"] for made in fits[: first + 1]] == [1] * first + [3]


def test_the_same_seed_tries_the_same_values(recipe, tmp_path, fits):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(recipe, trials=2, directory=tmp_path / folder, seed=seed)
    rates = [made["learning_rate"] for made in fits]
    assert rates[:2] == rates[2:4]
    assert rates[:2] != rates[4:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "grid", "bayesian", "hyperband"])
def test_real_trials(recipe, tmp_path, name, capfd):
    if name == "grid":
        del recipe["learning_rate"]
    result = search(recipe | {"epochs": 2}, tuner=name, trials=2, directory=tmp_path / "s")
    assert len(result.trials) == 2
    assert all(row["error"] is None and 0 <= row["val_accuracy"] <= 1 for row in result.trials)
    assert not [path for path in (tmp_path / "s").rglob("*") if path.suffix in (".safetensors", ".h5", ".html")]
    assert list((tmp_path / "s" / "trial_0" / "logs").rglob("events*"))
    said = capfd.readouterr()
    assert said.out == ""
    assert "What learns" not in said.err


def test_a_failing_trial_is_marked_and_the_search_goes_on(recipe, tmp_path, fits, monkeypatch):
    fit = HyperModel.fit

    def failing(self, hp, *args, **kwargs):
        if self.values(hp)["method.blocks"] == 7:
            raise UserError("freeze: the backbone has 2 blocks. Received: blocks=7")
        if self.values(hp)["method.blocks"] == 8:
            raise MemoryError("no room: [8]")
        return fit(self, hp, *args, **kwargs)

    monkeypatch.setattr(HyperModel, "fit", failing)
    recipe["method"]["blocks"] = {"choice": [7, 0, 8]}
    result = search(recipe | {"learning_rate": 1e-3}, tuner="grid", directory=tmp_path / "s")
    assert [row["method.blocks"] for row in result.trials] == [0, 7, 8]
    errors = [row["error"] for row in result.trials]
    assert errors == [None, "freeze: the backbone has 2 blocks. Received: blocks=7", "MemoryError: no room: [8]"]
    assert [row["val_accuracy"] for row in result.trials[1:]] == [None, None]


def test_a_score_that_is_no_number_is_a_failure(recipe, tmp_path, fits, monkeypatch):
    lost = types.SimpleNamespace(history={"val_accuracy": [math.nan]})
    monkeypatch.setattr(HyperModel, "fit", lambda *args, **kwargs: lost)
    with pytest.raises(UserError, match="All 4 trials failed, see .*trials.csv. The first: The score is no number"):
        search(recipe, trials=4, directory=tmp_path / "s")


def test_an_interrupted_search_goes_on(recipe, tmp_path, fits, monkeypatch):
    fit, calls = HyperModel.fit, []

    def interrupted(self, hp, *args, **kwargs):
        calls.append(self.values(hp)["learning_rate"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, hp, *args, **kwargs)

    monkeypatch.setattr(HyperModel, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, trials=3, directory=tmp_path / "s")
    result = search(recipe, trials=3, directory=tmp_path / "s")
    assert len(result.trials) == 3
    assert len(calls) == 4
    assert calls[1] == calls[2]
    assert len(set(calls)) == 3


def test_search_refuses_before_it_makes_a_folder(recipe, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'random'. Received: tuner='randon'"):
        search(recipe, tuner="randon", directory=tmp_path / "s")
    with pytest.raises(UserError, match="no ranges"):
        search(recipe | {"learning_rate": 1e-3, "method": "full"}, directory=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_another_search_needs_a_folder_of_its_own(recipe, tmp_path, fits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = search(recipe | {"name": "x"}, trials=1)
    second = search(recipe | {"name": "x", "epochs": 2}, trials=1)
    assert [first.directory, second.directory] == [f"saved_models/x_search{end}" for end in ("", "-2")]
    with pytest.raises(UserError, match="another search; choose a new one"):
        search(recipe | {"name": "x"}, trials=1, directory=second.directory)
    assert search(recipe | {"name": "x"}, trials=1) == first
    with pytest.raises(UserError, match="This is a file; choose a new one. Received: directory="):
        search(recipe, trials=1, directory=__file__)


def test_changed_data_are_another_search(recipe, tmp_path, fits):
    path, rows = tmp_path / "r.jsonl", recipe["data"]
    for given in (recipe, {**recipe, "data": str(path)}):
        path.write_text("\n".join(map(json.dumps, rows)))
        folder = tmp_path / type(given["data"]).__name__
        first = search(given, trials=1, directory=folder)
        assert search(given, trials=1, directory=folder) == first
        if given is recipe:
            given = {**recipe, "data": rows[:-2]}
        path.write_text("\n".join(map(json.dumps, rows[:-2])))
        with pytest.raises(UserError, match="The folder holds another search"):
            search(given, trials=1, directory=folder)


def test_the_best_recipe_has_the_rows_of_data_in_the_recipe(recipe, tmp_path, fits):
    recipe["data"] = [{**row, "note": None, "tags": []} for row in recipe["data"]]
    result = search(recipe, trials=1, directory=tmp_path / "s")
    assert recipes.read(tmp_path / "s" / "best_recipe.yaml") == result.best
    assert result.best["data"] == recipe["data"]


def test_variants_are_tried_as_a_whole_with_folds(recipe, tmp_path):
    del recipe["validation_split"], recipe["learning_rate"], recipe["epochs"]
    recipe["method"] = "full"
    variants = [{"method": "linear_probe", "epochs": 2}, {"epochs": 1, "learning_rate": 1e-3}]
    recipe["variant"] = {"choice": variants}
    result = search(recipe, tuner="grid", directory=tmp_path / "s", folds=2)
    assert sorted(row["variant"] for row in result.trials) == sorted(map(json.dumps, variants))
    assert not any(row["error"] for row in result.trials)
    assert result.chosen in result.trials and result.score == result.chosen["val_accuracy"]
    chosen = json.loads(result.chosen["variant"])
    assert {key: result.best[key] for key in chosen} == chosen
    assert "variant" not in result.best and "validation_split" not in result.best
    assert len(list((tmp_path / "s").glob("trial_*/fold_*/logs"))) == 4
    again = search(recipe, tuner="grid", directory=tmp_path / "s", folds=2)
    assert again == result


@pytest.mark.parametrize(("error", "taken"), [(0.02, "1"), (0.06, "0"), (0.2, "2")])
def test_with_folds_the_recipes_first_of_those_within_one_standard_error_is_taken(error, taken):
    scores = {"0": 0.85, "1": 0.9, "2": 0.75, "3": 0.86}
    made = {}
    for trial, variant in zip(scores, ("b", "c", "a", "c"), strict=True):
        hp = keras_tuner.HyperParameters()
        hp.Choice("variant", ["a", "b", "c"])
        hp.values["variant"] = variant
        made[trial] = types.SimpleNamespace(hyperparameters=hp)
    oracle = types.SimpleNamespace(objective=keras_tuner.Objective("val_accuracy", "max"), trials=made)
    ranked = sorted(scores, key=scores.get, reverse=True)
    rows = [{"trial": name, "val_accuracy": scores[name], "standard_error": error, "error": None} for name in ranked]
    rows.append({"trial": "4", "val_accuracy": None, "standard_error": None, "error": "diverged"})
    assert trials.chosen(oracle, rows)["trial"] == taken
    assert trials.chosen(oracle, [{**rows[0], "standard_error": 0.0}, *rows[1:]])["trial"] == "1"
