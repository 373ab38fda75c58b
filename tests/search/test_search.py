import csv
import os

import pytest

from kerasft import recipe as recipes
from kerasft.errors import UserError
from kerasft.search import hyper_model
from kerasft.search.search import search


def files_of(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def test_random_search_ranks_its_trials_and_writes_the_best_recipe(recipe, tmp_path, capsys):
    result = search(recipe, trials=3, directory=tmp_path / "s")
    assert [row["rank"] for row in result.trials] == [1, 2, 3]
    scores = [row["val_accuracy"] for row in result.trials]
    assert scores == sorted(scores, reverse=True)
    assert result.score == scores[0]
    assert all(row["seconds"] > 0 and row["error"] is None for row in result.trials)
    assert all(1e-4 <= row["learning_rate"] <= 1e-2 and row["method.blocks"] in (0, 1) for row in result.trials)
    best = recipes.read(tmp_path / "s" / "best_recipe.yaml")
    assert best == {key: value for key, value in result.best.items() if key != "data"}
    assert best["learning_rate"] == result.trials[0]["learning_rate"]
    assert best["method"] == {"name": "freeze", "blocks": result.trials[0]["method.blocks"]}
    assert best["validation_split"] == 0.25
    assert not recipes.ranges(best)
    top = (tmp_path / "s" / "best_recipe.yaml").read_text(encoding="utf-8").splitlines()[:2]
    assert top == [
        f"# val_accuracy {result.score:.4f}, the best of 3 trials",
        f"# kerasft fit {tmp_path}/s/best_recipe.yaml",
    ]
    with open(tmp_path / "s" / "trials.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_accuracy"]) for row in rows] == scores
    assert "What learns" not in capsys.readouterr().err


def test_of_a_trial_only_the_logs_stay(recipe, tmp_path):
    search(recipe, trials=1, directory=tmp_path / "s")
    kept = files_of(tmp_path / "s")
    assert not [name for name in kept if name.endswith((".safetensors", ".h5", ".html"))]
    assert any(name.startswith(os.path.join("trial_0", "logs")) for name in kept)


def test_all_trials_validate_on_the_same_rows(recipe, tmp_path, monkeypatch):
    seen = []
    fit = hyper_model.HyperModel.fit

    def spy(self, *args, **kwargs):
        seen.append(self.data["validation_data"].index.tolist())
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(hyper_model.HyperModel, "fit", spy)
    search(recipe, trials=2, directory=tmp_path / "s")
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4


@pytest.mark.parametrize("name", ["grid", "bayesian"])
def test_other_tuners(recipe, tmp_path, name):
    if name == "grid":
        del recipe["learning_rate"]
    result = search(recipe, tuner=name, trials=4, directory=tmp_path / "s")
    assert len(result.trials) == (2 if name == "grid" else 4)
    assert {row["method.blocks"] for row in result.trials} <= {0, 1}


def test_hyperband_fits_the_best_third_with_more_epochs(recipe, tmp_path):
    result = search(recipe | {"epochs": 3}, tuner="hyperband", directory=tmp_path / "s")
    epochs = [row["epochs"] for row in result.trials]
    assert set(epochs) == {1, 3}
    assert epochs.count(1) >= 3
    assert result.best["epochs"] == result.trials[0]["epochs"]


def test_a_failing_trial_is_marked_and_the_search_goes_on(recipe, tmp_path):
    recipe["method"]["blocks"] = {"choice": [0, 7]}
    del recipe["learning_rate"]
    result = search(recipe, tuner="grid", directory=tmp_path / "s")
    assert [row["method.blocks"] for row in result.trials] == [0, 7]
    assert result.trials[0]["error"] is None
    assert result.trials[1]["error"].startswith("freeze: the backbone has 2 blocks")
    assert result.trials[1]["val_accuracy"] is None
    assert os.path.exists(tmp_path / "s" / "trials.csv")


def test_if_every_trial_fails_the_search_says_why(recipe, tmp_path):
    recipe["method"]["blocks"] = {"choice": [7, 8]}
    with pytest.raises(UserError, match="Every trial failed; the first: freeze: the backbone has 2 .*2 trials"):
        search(recipe | {"learning_rate": 1e-3}, tuner="grid", directory=tmp_path / "s")


def test_an_interrupted_search_goes_on(recipe, tmp_path, monkeypatch):
    fit, calls = hyper_model.HyperModel.fit, []

    def interrupted(self, *args, **kwargs):
        calls.append(self.tuner.arguments["learning_rate"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(hyper_model.HyperModel, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, trials=3, directory=tmp_path / "s")
    result = search(recipe, trials=3, directory=tmp_path / "s")
    assert len(result.trials) == 3
    assert len(calls) == 4
    assert calls[1] == calls[2]
    assert len(set(calls)) == 3


def test_search_refuses_what_no_trial_can_use(recipe, tmp_path, tiny_bert):
    for change, message in (
        ({"learning_rate": 1e-3, "method": "full"}, "no ranges"),
        ({"validation_split": 0}, "give validation_split or validation_data"),
        ({"lerning_rate": 1e-3}, "lerning_rate: there is no such argument. Did you mean 'learning_rate'"),
        ({"backbone": tiny_bert}, "must be a name or a folder"),
        ({"data": "nowhere.csv"}, "no file 'nowhere.csv'"),
        ({"backbone": "starter:none"}, "starter:none"),
    ):
        with pytest.raises(UserError, match=message):
            search(recipe | change, directory=tmp_path / "s")
    with pytest.raises(UserError, match="Did you mean 'random'. Received: tuner='randon'"):
        search(recipe, tuner="randon")
    assert not (tmp_path / "s").exists()


def test_another_search_needs_a_folder_of_its_own(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = search(recipe | {"name": "x"}, trials=1)
    second = search(recipe | {"name": "x", "epochs": 2}, trials=1)
    assert [first.directory, second.directory] == [f"saved_models/x_search{end}" for end in ("", "-2")]
    with pytest.raises(UserError, match="another search; choose a new one"):
        search(recipe | {"name": "x"}, trials=1, directory=second.directory)
    assert search(recipe | {"name": "x"}, trials=1) == first
