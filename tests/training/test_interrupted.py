"""A run that was interrupted and goes on leaves the very files that an uninterrupted one does."""

import pytest

from kerasft import files
from kerasft.fine_tuner import FineTuner
from kerasft.inspection import run
from kerasft.training import checkpoint, store
from tests.interruption import Crash

SGD = {"name": "sgd", "momentum": 0.9}
LORA = {"name": "lora", "dropout": 0.2}


@pytest.mark.parametrize(
    ("method", "optimizer", "epoch"),
    [
        ("gradual_unfreeze", SGD, 2),
        pytest.param(LORA, "adamw", 2, marks=pytest.mark.slow),
        pytest.param(LORA, SGD, 2, marks=pytest.mark.slow),
        pytest.param("gradual_unfreeze", "adamw", 1, marks=pytest.mark.slow),
        pytest.param("lp_ft", "adamw", 1, marks=pytest.mark.slow),
        pytest.param("lp_ft", SGD, 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_all_files_are_the_same(make_tiny, reviews, tmp_path, method, optimizer, epoch):
    def train(directory, callbacks=()):
        backbone = make_tiny("bert", dropout=0.1)
        arguments = {"optimizer": optimizer, "learning_rate": 0.02, "precision": "float32"}
        tuner = FineTuner("text_classification", backbone, method, **arguments)
        fit = {"epochs": 3, "batch_size": 4, "directory": directory, "callbacks": callbacks}
        tuner.fit(reviews, validation_split=0.25, **fit)
        digests = run.manifest(directory)["sha256"] | {"metrics.json": files.sha256(directory / "metrics.json")}
        # Layers that have no name of their own are counted through the process.
        return {k: v for k, v in digests.items() if k != "architecture/architecture.json"}

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", [Crash(epoch)])
    assert checkpoint.position(store.of_run(tmp_path / "run").newest()).epoch == epoch
    resumed, whole = train(tmp_path / "run"), train(tmp_path / "whole")
    assert resumed == whole
    assert {"weights.safetensors", "history.json", "recipe.yaml", "metrics.json"} <= whole.keys()
