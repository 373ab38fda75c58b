import keras
import keras_tuner
import pytest

from kerasft.search.hyper_model import HyperModel


def test_ranges_become_hyperparameters_of_their_paths(recipe):
    recipe["optimizer"] = {"choice": [{"name": "adamw", "weight_decay": 0.1}, "sgd", None]}
    recipe["seed"] = {"min": 1, "max": 5, "step": 2}
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
    assert list(made.data["data"].columns) == ["text", "label"]
    model = made.build(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 2)
    assert made.recipe["task"] == {"name": "text_classification"}


@pytest.mark.parametrize("epochs", [None, 2])
def test_fit_takes_the_epochs_it_is_given(recipe, tmp_path, epochs):
    made = HyperModel(recipe)
    hp = keras_tuner.HyperParameters()
    history = made.fit(hp, made.build(hp), directory=tmp_path / "run", epochs=epochs)
    assert len(history.history["val_accuracy"]) == (epochs or 1)
