import csv

import pytest


@pytest.fixture
def recipe(tiny_bert, reviews, tmp_path):
    """A recipe that fits in seconds, all of it named: runs have processes of their own."""
    tiny_bert.backbone.save_to_preset(str(tmp_path / "tiny"))
    tiny_bert.converter.save_to_preset(str(tmp_path / "tiny"))
    for name in ("train.csv", "test.csv"):
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows({**row, "text": f"{row['text']} {name}"} for row in reviews)
    return {
        "task": "text_classification",
        "backbone": str(tmp_path / "tiny"),
        "learning_rate": 0.01,
        "sequence_length": 16,
        "precision": "float32",
        "data": str(tmp_path / "train.csv"),
        "validation_split": 0.25,
        "epochs": 2,
        "batch_size": 8,
    }


@pytest.fixture
def test_data(recipe, tmp_path):
    return str(tmp_path / "test.csv")
