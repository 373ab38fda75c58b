import pandas as pd
import pytest

from kerasft.cli import smoke

RECIPE = {"task": "text_classification", "backbone": "b", "directory": "x", "epochs": 9}


def frame(rows, classes, column="label"):
    """Classes one after the other, as in a folder of images: the first rows alone would be of one class."""
    labels = [f"c{row * classes // rows:03}" for row in range(rows)]
    return pd.DataFrame({"text": [f"text {row}" for row in range(rows)], column: labels})


@pytest.mark.parametrize(("classes", "kept", "each"), [(2, 2, 32), (10, 10, 6), (100, 16, 4)])
def test_rows_of_every_class_while_there_is_room(classes, kept, each):
    made = smoke.shrunk(RECIPE | {"data": frame(2000, classes), "validation_data": frame(2000, classes)})
    for key in ("data", "validation_data"):
        counts = made[key]["label"].value_counts()
        assert len(counts) == kept
        assert set(counts) == {each}
        assert len(made[key]) <= 64


def test_a_share_to_validate_on_becomes_a_half():
    made = smoke.shrunk(RECIPE | {"data": frame(2000, 2), "validation_split": 0.1})
    assert (made["validation_split"], len(made["data"])) == (0.5, 128)


def test_the_column_of_the_label_may_have_another_name():
    data = frame(2000, 4, "stars")
    for task in (
        {"task": "text_classification", "columns": {"label": "stars"}},
        {"task": {"name": "text_classification", "columns": {"label": "stars"}}},
    ):
        made = smoke.shrunk(RECIPE | task | {"data": data})
        assert made["data"]["stars"].nunique() == 4
    assert len(smoke.shrunk(RECIPE | {"data": data})["data"]) == 64


def test_lists_of_labels_do():
    data = [{"text": f"t {row}", "label": ["a"] if row % 2 else ["a", "b"]} for row in range(200)]
    made = smoke.shrunk(RECIPE | {"multi_label": True, "data": data})
    assert sorted(map(len, made["data"]["label"])) == [1] * 32 + [2] * 32


def test_the_rest_of_the_recipe():
    made = smoke.shrunk(RECIPE | {"data": frame(10, 2), "method": {"name": "freeze", "blocks": 1}})
    assert made.pop("data").shape == (10, 2)
    assert made == {
        "task": "text_classification",
        "backbone": "b",
        "method": {"name": "freeze", "blocks": 1},
        "epochs": 1,
        "batch_size": 16,
        "name": "smoke",
        "directory": None,
        "sequence_length": 32,
    }
    made = smoke.shrunk(RECIPE | {"task": {"name": "image_classification"}, "data": frame(10, 2)})
    assert made["task"] == {"name": "image_classification"}
    assert "sequence_length" not in made


def test_methods_in_stages_have_an_epoch_for_each():
    probe = {"name": "lp_ft", "probe_epochs": {"choice": [1, 3]}}
    stages = {"name": "stages", "stages": [{"method": "lp_ft", "epochs": 9}, {"method": "lora", "epochs": 5}]}
    short = {"name": "stages", "stages": [{"method": "lp_ft", "epochs": 2}, {"method": "lora"}]}
    choice = {"choice": ["lp_ft", stages]}
    for method, made, epochs in (
        ("lp_ft", "lp_ft", 2),
        (probe, probe, 4),
        (stages, short, 3),
        (choice, {"choice": ["lp_ft", short]}, 3),
        ({"name": "stages", "stages": "lora"}, {"name": "stages", "stages": "lora"}, 1),
    ):
        found = smoke.shrunk(RECIPE | {"data": frame(10, 2), "method": method})
        assert (found["method"], found["epochs"]) == (made, epochs)


def test_variants_have_no_epochs_of_their_own():
    variants = [{"method": "linear_probe", "epochs": 60}, {"method": "lp_ft", "epochs": 20}]
    made = smoke.shrunk(RECIPE | {"data": frame(10, 2), "variant": {"choice": variants}})
    assert made["variant"] == {"choice": [{"method": "linear_probe"}, {"method": "lp_ft"}]}
    assert made["epochs"] == 2
