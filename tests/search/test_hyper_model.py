import types

import keras
import keras_tuner
import pytest

from kerasft.errors import UserError
from kerasft.search.hyper_model import HyperModel


def test_ranges_become_hyperparameters_of_their_paths(recipe):
    recipe["optimizer"] = {"choice": [{"name": "adamw", "weight_decay": 0.1}, "sgd", None]}
    recipe["seed"] = {"min": 1, "max": 5, "step": 2}
    recipe["validation_data"] = [row | {"text": "again " + row["text"]} for row in recipe["data"]]
    del recipe["validation_split"]
    recipe["dropout"] = {"min": 0.0, "max": 0.4, "step": 0.1}
    made = HyperModel(recipe)
    hp = keras_tuner.HyperParameters()
    values = made.values(hp)
    assert sorted(values) == ["dropout", "learning_rate", "method.blocks", "optimizer", "seed"]
    assert values["optimizer"] == {"name": "adamw", "weight_decay": 0.1}
    kinds = {found.name: type(found).__name__ for found in hp.space}
    assert kinds == {
        "method.blocks": "Choice",
        "learning_rate": "Float",
        "optimizer": "Choice",
        "seed": "Int",
        "dropout": "Float",
    }
    assert [found.sampling for found in hp.space if found.name == "learning_rate"] == ["log"]
    hp.values["optimizer"] = "null"
    hp.values["seed"] = 5
    assert made.values(hp)["optimizer"] is None
    assert made.values(hp)["seed"] == 5


@pytest.mark.slow
def test_keras_tuner_can_run_it_by_itself(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = HyperModel(recipe)
    tuner = keras_tuner.RandomSearch(made, objective="val_accuracy", max_trials=1, directory=tmp_path / "kt")
    tuner.search(verbose=0)
    assert 0 <= tuner.oracle.get_best_trials()[0].score <= 1
    assert isinstance(tuner.hypermodel.build(tuner.get_best_hyperparameters()[0]), keras.Model)


def test_columns_are_renamed_once(recipe, reviews):
    recipe["data"] = [{"review": row["text"], "stars": row["label"]} for row in reviews]
    recipe["task"] = {"name": "text_classification", "columns": {"text": "review", "label": "stars"}}
    made = HyperModel(recipe)
    assert list(made.parts[0][0].columns) == ["text", "label"]
    model = made.build(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 2)
    assert made.recipe["task"] == {"name": "text_classification"}


def test_fit_trains_on_the_rows_it_was_given_first(recipe, tmp_path):
    made = HyperModel(recipe)
    hp = keras_tuner.HyperParameters()
    history = made.fit(hp, made.build(hp), directory=tmp_path / "run", epochs=2)
    assert len(history.history["val_accuracy"]) == 2
    assert len(made.parts[0][0]) == 12
    assert len(made.parts[0][1]) == 4
    assert sorted(index for part in made.parts[0] for index in part.index) == list(range(1, 17))


def test_what_no_trial_can_use_is_refused(recipe, tiny_bert):
    for change, message in (
        ({"learning_rate": 1e-3, "method": "full"}, "no ranges"),
        ({"validation_split": 0}, "give validation_split, validation_data or folds"),
        ({"lerning_rate": 1e-3}, "lerning_rate: there is no such argument. Did you mean 'learning_rate'"),
        ({"backbone": tiny_bert}, "must be a name or a folder"),
        ({"data": "nowhere.csv"}, "no file 'nowhere.csv'"),
        ({"backbone": "starter:none"}, "starter:none"),
    ):
        with pytest.raises(UserError, match=message):
            HyperModel(recipe | change)


def test_variants_may_bring_the_backbone_but_not_the_task(recipe, tiny_bert):
    name, task = recipe.pop("backbone"), recipe.pop("task")
    made = recipe | {"task": task, "variant": {"choice": [{"backbone": name}]}}
    assert HyperModel(made).name_of_run.startswith("text_classification_tiny")
    made["variant"]["choice"].append({"backbone": tiny_bert})
    with pytest.raises(UserError, match="must be a name or a folder"):
        HyperModel(made)
    made = recipe | {"backbone": name, "variant": {"choice": [{"task": task}]}}
    with pytest.raises(UserError, match="variant: task must stand beside it, the same for all. Received: "):
        HyperModel(made)


@pytest.mark.parametrize(
    "seeds", [{"seed": {"choice": [1, 2]}}, {"variant": {"choice": [{"seed": 1}, {"method": "full"}]}}]
)
def test_seeds_with_a_share_to_validate_on_are_refused(recipe, seeds):
    """The best recipe holds back the rows of its own seed, not those that the search was validated on."""
    with pytest.raises(UserError, match="give validation_data, or try seeds with kerasft compare. Received: seed="):
        HyperModel(recipe | seeds)


def test_folds_hold_back_each_row_once_and_score_after_the_last_epoch(recipe, tmp_path, monkeypatch):
    del recipe["validation_split"]
    made = HyperModel(recipe, folds=3)
    assert sorted(index for _, validation in made.parts for index in validation.index) == list(range(1, 17))
    sizes = [len(validation) for _, validation in made.parts]
    asked = []

    def fit(data, directory):
        asked.append((list(data.index), directory))

    def evaluate(validation, verbose, return_dict):
        assert sorted([*validation, *asked[-1][0]]) == list(range(1, 17))
        return {"accuracy": 0.1 * len(asked)}

    model = keras.Sequential()
    model.evaluate = evaluate
    tuner = types.SimpleNamespace(fit=fit, model=model, batches=lambda frame: list(frame.index))
    monkeypatch.setattr("kerasft.search.hyper_model._made", lambda recipe: (tuner, {}))
    hp = keras_tuner.HyperParameters()
    history = made.fit(hp, made.build(hp), directory=str(tmp_path))
    expected = sum(size * 0.1 * (number + 1) for number, size in enumerate(sizes)) / 16
    # The deviation of 0.1, 0.2 and 0.3 is 0.1.
    error = pytest.approx(0.1 / 3**0.5)
    assert history.history == {"val_accuracy": [pytest.approx(expected)], "standard_error": [error]}
    assert [folder for _, folder in asked] == [str(tmp_path / f"fold_{number}") for number in range(3)]


def test_folds_and_other_validation_are_refused(recipe):
    with pytest.raises(UserError, match="Give folds or data to validate on, not both. Received: folds=4"):
        HyperModel(recipe, folds=4)
    del recipe["validation_split"]
    with pytest.raises(UserError, match="give validation_split, validation_data or folds"):
        HyperModel(recipe)
