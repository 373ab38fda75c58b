"""A run that was interrupted and goes on leaves the very file that an uninterrupted one does."""

import hashlib

import pytest

from kerasft.fine_tuner import FineTuner
from kerasft.training import checkpoint, store
from tests.interruption import Crash

SGD = {"name": "sgd", "momentum": 0.9}
LORA = {"name": "lora", "dropout": 0.2}


@pytest.mark.parametrize(
    ("method", "optimizer", "epoch"),
    [
        (LORA, "adamw", 2),
        ("gradual_unfreeze", SGD, 2),
        pytest.param(LORA, SGD, 2, marks=pytest.mark.slow),
        pytest.param("gradual_unfreeze", "adamw", 1, marks=pytest.mark.slow),
        pytest.param("lp_ft", "adamw", 1, marks=pytest.mark.slow),
        pytest.param("lp_ft", SGD, 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_weights_are_the_same_file(make_tiny, reviews, tmp_path, method, optimizer, epoch):
    def train(directory, callbacks=()):
        backbone = make_tiny("bert", dropout=0.1)
        arguments = {"optimizer": optimizer, "learning_rate": 0.02, "precision": "float32"}
        tuner = FineTuner("text_classification", backbone, method, **arguments)
        tuner.fit(reviews, epochs=3, batch_size=4, directory=directory, callbacks=callbacks)
        return hashlib.sha256((directory / "weights.safetensors").read_bytes()).hexdigest()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", [Crash(epoch)])
    assert checkpoint.position(store.of_run(tmp_path / "run").newest()).epoch == epoch
    assert train(tmp_path / "run") == train(tmp_path / "whole")
