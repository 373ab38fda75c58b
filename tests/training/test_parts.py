"""`batch_size="auto"`: the training of whole batches, in the memory there is."""

import numpy as np
import pytest

from kerasft import memory
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.inspection import run
from tests.interruption import Crash


@pytest.fixture
def train(make_tiny, reviews, tmp_path):
    def train(name, batch_size="auto", dropout=0.0, callbacks=(), **arguments):
        arguments = {"learning_rate": 0.02, "precision": "float32", **arguments}
        tuner = FineTuner("text_classification", make_tiny("bert", dropout=dropout), dropout=dropout, **arguments)
        fit = {"epochs": 2, "batch_size": batch_size, "directory": tmp_path / name, "callbacks": callbacks}
        history = tuner.fit(reviews * 5, validation_split=0.25, **fit)
        return tuner, history.history

    return train


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: (0, 1))


def files(tuner):
    named = run.manifest(tuner.directory)["sha256"]
    return {name: named[name] for name in ("weights.safetensors", "history.json")}


def test_with_memory_for_all_rows_it_is_the_training_of_32(train, enough_memory):
    auto, given = train("auto")[0], train("given", 32)[0]
    assert auto.model.rows_at_once is None
    assert files(auto) == files(given)


@pytest.mark.parametrize(
    "arguments", [pytest.param({}, marks=pytest.mark.slow), {"objectives": ["l2_sp"], "method": "lora"}], ids=len
)
def test_in_parts_it_is_the_same_training(train, no_memory, arguments):
    with pytest.warns(match="of the 32 rows of a batch, 1 are computed at once"):
        parts, history = train("parts", **arguments)
    whole, expected = train("whole", 32, **arguments)
    assert (parts.model.rows_at_once, whole.model.rows_at_once) == (1, None)
    assert parts.facts["rows computed at once"] == 1
    assert "rows computed at once" not in whole.facts
    assert history.keys() == expected.keys()
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-4)
    for one, other in zip(parts.model.weights, whole.model.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Memory is short")
def test_an_interrupted_run_keeps_its_parts(train, no_memory, monkeypatch):
    whole = train("whole", dropout=0.1)[0]
    with pytest.raises(KeyboardInterrupt):
        train("run", dropout=0.1, callbacks=[Crash(1)])
    monkeypatch.undo()
    monkeypatch.setattr("kerasft.steps.rows_that_fit", lambda *_: pytest.fail("chosen anew"))
    resumed = train("run", dropout=0.1)[0]
    assert files(resumed) == files(whole)


def test_another_word_is_refused(make_tiny, reviews, tmp_path):
    tuner = FineTuner("text_classification", make_tiny("bert"))
    with pytest.raises(UserError, match="whole number, 1 or more, or 'auto'. Received: batch_size='automatic'"):
        tuner.fit(reviews, batch_size="automatic", directory=tmp_path / "run")
