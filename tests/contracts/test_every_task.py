"""What every task must keep, whatever the architecture: from `fit` to an export that answers in another process."""

import numpy as np
import pytest

import kerasft
from benchmarks.export_parity import fresh_answers
from kerasft import registry
from kerasft.fine_tuner import FineTuner
from tests import families
from tests.contracts.cases import TASKS

FAMILIES = families.quick_ones(families.ALL, "t5")  # It is an encoder as others are, and it writes.


def tasks_of(family):
    """Returns the names of the tasks that a backbone of this family can do."""
    texts = {name for name in registry.names("tasks") if registry.find("tasks", name).modality == "text"}
    others = {
        "causal_lm": families.CAUSAL,
        "seq2seq": families.ENCODER_DECODERS,
        "masked_lm": [name for name in families.ENCODERS if name != "f_net"],  # Its vocabulary here has no mask.
    }
    return sorted(texts - {name for name, able in others.items() if family not in able})


def test_there_is_a_case_of_every_task():
    assert sorted(TASKS) == sorted(registry.names("tasks"))


@pytest.mark.timeout(1200)  # Ten tasks, each trained, loaded and exported.
@pytest.mark.parametrize("family", FAMILIES)
def test_from_fit_to_the_answer_of_another_process(family, tmp_path):
    exports, expected = [], []
    for task in tasks_of(family):
        case, folder = TASKS[task], tmp_path / task
        tuner = FineTuner(task, families.make(family), precision="float32", **case.arguments)
        fitted = tuner.fit(case.examples, validation_split=0.25, epochs=1, batch_size=8, directory=folder)
        assert np.isfinite(fitted.history["loss"]).all(), task
        loaded = kerasft.load(folder)
        found, again = tuner.evaluate(case.examples), loaded.evaluate(case.examples)
        assert sorted(found) == sorted(again), task
        for name, value in found.items():  # To the four digits that are printed, wherever these would be rounded.
            np.testing.assert_allclose(again[name], value, rtol=0, atol=1e-4, err_msg=f"{task}, {name}")
        frame = tuner.samples
        answers, same = tuner.predict(frame), loaded.predict(frame)
        assert list(answers) == list(same), task
        for name, values in answers.items():
            assert len(values) == len(frame), (task, name)
        expected.append((task, {name: value.numpy() for name, value in tuner.decoded(frame).items()}))
        exports.append((loaded.export(str(folder / "export" / "1")), tuner.task.request(frame)))
    for (task, wanted), answered in zip(expected, fresh_answers(exports), strict=True):
        for loader, arrays in answered.items():
            assert sorted(arrays) == sorted(wanted), (task, loader)
            for name, values in wanted.items():
                if values.dtype == object:
                    np.testing.assert_array_equal(arrays[name], values, err_msg=f"{task}, {loader}, {name}")
                else:
                    np.testing.assert_allclose(arrays[name], values, atol=1e-4, err_msg=f"{task}, {loader}, {name}")
