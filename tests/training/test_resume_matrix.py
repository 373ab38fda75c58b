"""Interrupted anywhere, whatever learns and however: the last checkpoint has the same bytes as without.

Six places, three methods, one or four batches an update, two optimizers, all with dropout: after Composer's
`test_resumption` (https://github.com/mosaicml/composer), which compares whole checkpoints at a tolerance of 0.
"""

import itertools

import keras
import numpy as np
import pytest

from kerasft import files, run_folder
from kerasft.fine_tuner import FineTuner
from kerasft.training import store

EPOCHS, STEPS = 2, 6


class StopAt(keras.callbacks.Callback):
    """Breaks off after a step, before it can be saved, or after the validation of an epoch."""

    def __init__(self, epoch, step=None):
        super().__init__()
        self.at = epoch, step

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at:
            raise KeyboardInterrupt

    def on_test_end(self, logs=None):
        if (self.epoch, None) == self.at:
            raise KeyboardInterrupt


# What is stopped after which step, and how often was saved before.
PLACES = {
    "first step": (StopAt(0, 1), 1),
    "mid-epoch": (StopAt(0, 5), 4),
    "mid-accumulation": (StopAt(1, 4), 3),
    "epoch end": (StopAt(1, 1), 100),
    "after evaluation": (StopAt(0), 2),
    "last step": (StopAt(EPOCHS - 1, STEPS), 5),
}
METHODS = {
    "full": "full",
    "lora": {"name": "lora", "dropout": 0.1},
    "frozen BatchNorm": {"name": "freeze", "blocks": 1},
}
OPTIMIZERS = {"sgd": {"name": "sgd", "momentum": 0.9}, "adamw": {"name": "adamw"}}
CASES = list(itertools.product(METHODS, (1, 4), OPTIMIZERS))


@pytest.fixture(scope="module")
def train(make_tiny, tmp_path_factory):
    """A function that trains a case in a folder and returns the digest of its last checkpoint."""
    images = np.random.default_rng(0).integers(0, 255, (2 * STEPS, 32, 32, 3), "uint8")
    pictures = (images, ["ab"[i % 2] for i in range(len(images))])
    reviews = [
        {"text": f"a {'good bad dull great'.split()[i % 4]} film", "label": "ab"[i % 2]} for i in range(2 * STEPS)
    ]

    def run(case, directory, callbacks=(), save_freq=100):
        method, accumulated, optimizer = case
        is_image = method == "frozen BatchNorm"
        tuner = FineTuner(
            "image_classification" if is_image else "text_classification",
            make_tiny("efficientnet") if is_image else make_tiny("bert", dropout=0.1),
            METHODS[method],
            learning_rate=0.01,
            optimizer=OPTIMIZERS[optimizer] | {"gradient_accumulation_steps": accumulated if accumulated > 1 else None},
        )
        data = pictures if is_image else reviews
        fit = {"epochs": EPOCHS, "batch_size": 2, "directory": directory, "save_freq": save_freq}
        tuner.fit(data, validation_data=data, callbacks=callbacks, **fit)
        newest = store.of_run(directory).newest().path
        return files.sha256(f"{newest}/{store.STATE}"), files.sha256(f"{directory}/weights.safetensors")

    return run


@pytest.fixture(scope="module")
def left_alone(train, tmp_path_factory):
    """A function that returns the digests of a case that nothing interrupts."""
    known = {}

    def digests(case):
        if case not in known:
            known[case] = train(case, tmp_path_factory.mktemp("whole") / "run")
        return known[case]

    return digests


@pytest.fixture(autouse=True)
def kept_checkpoint(monkeypatch):
    monkeypatch.setattr(run_folder, "clear_checkpoint", lambda directory: None)


# Those of `make test`; all 72 are in `make test-slow`.
QUICK = {
    (("lora", 4, "sgd"), "mid-accumulation"),
    (("frozen BatchNorm", 1, "adamw"), "after evaluation"),
}


def _parameters():
    for case, place in itertools.product(CASES, PLACES):
        marks = [] if (case, place) in QUICK else [pytest.mark.slow]
        yield pytest.param(case, place, marks=marks, id=f"{'-'.join(map(str, case))}-{place}")


@pytest.mark.filterwarnings("ignore:validation examples that are also trained on")
@pytest.mark.parametrize(("case", "place"), _parameters())
def test_the_last_checkpoint_has_the_same_bytes(train, left_alone, tmp_path, case, place):
    stop, save_freq = PLACES[place]
    with pytest.raises(KeyboardInterrupt):
        train(case, tmp_path / "run", [stop], save_freq)
    assert train(case, tmp_path / "run") == left_alone(case)
