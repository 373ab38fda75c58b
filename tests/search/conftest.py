import pytest


@pytest.fixture
def recipe(tiny_bert, reviews, tmp_path):
    """A recipe that fits in a second: the tiny text encoder in a folder, as each trial loads it anew."""
    folder = tmp_path / "tiny"
    tiny_bert.backbone.save_to_preset(str(folder))
    tiny_bert.converter.save_to_preset(str(folder))
    return {
        "task": "text_classification",
        "backbone": str(folder),
        "method": {"name": "freeze", "blocks": {"choice": [0, 1]}},
        "learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
        "sequence_length": 16,
        "precision": "float32",
        "data": reviews,
        "validation_split": 0.25,
        "epochs": 1,
        "batch_size": 8,
    }
