import types

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kerasft.exporters import _parity
from kerasft.tasks.base import Task
from kerasft.tasks.image_classification import ImageClassification
from kerasft.tasks.text_classification import TextClassification

SCORES = np.array([[0.25, 0.75], [0.5, 0.5]], "float32")
LABELS = np.array([b"b", b"a"], dtype=object)


class TaskStandIn(Task):
    def edge_cases(self):
        return pd.DataFrame({"text": ["first", "second"]})

    def request(self, frame):
        return {"text": frame["text"].to_numpy(dtype=object)}

    def decode(self, outputs):
        return {"label": tf.constant(LABELS.tolist()), "scores": outputs}


def stand_in():
    """A tuner of which no rows of its own are known, as `run_folder.load` may give one."""
    task = TaskStandIn()
    return types.SimpleNamespace(task=task, samples=None, decoded=lambda frame: task.decoded(SCORES, frame))


def check(**changed):
    """Runs the gate on an export that answers as `predict`, but for what is changed."""

    def answer(request):
        rows = slice(len(request["text"]))
        right = {"label": LABELS[rows], "scores": SCORES[rows]}
        return {name: value[rows] for name, value in {**right, **changed}.items() if value is not None}

    _parity.check(stand_in(), answer)


def test_equal_answers_pass():
    check()
    check(scores=SCORES + np.float32(5e-6))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"scores": SCORES + np.array([[0], [2e-5]], "float32")},
            r"1 of 2 rows.*text='second'.*'scores'.*0\.5.*0\.5000",
        ),
        ({"scores": np.full_like(SCORES, np.nan)}, "2 of 2 rows.*text='first'.*nan"),
        (
            {"label": np.array([b"b", b"b"], dtype=object)},
            "text='second'. Output 'label' of predict: b'a'. Received: b'b'",
        ),
        ({"label": None}, r"predict gives \['label', 'scores'\]. Received: \['scores'\]"),
        ({"scores": SCORES.astype("float64")}, r"must be float32 \(2, 2\). Received: float64"),
        ({"scores": SCORES[:, :1]}, r"must be float32 \(2, 2\). Received: float32 \(2, 1\)"),
    ],
)
def test_others_do_not(changed, message):
    with pytest.raises(RuntimeError, match=message):
        check(**changed)


def test_an_export_that_fails_on_no_rows_is_refused():
    def answer(request):
        if not len(request["text"]):
            raise tf.errors.InvalidArgumentError(None, None, "no rows")
        return {"label": LABELS, "scores": SCORES}

    with pytest.raises(RuntimeError, match="fails on 0 rows: no rows"):
        _parity.check(stand_in(), answer)


@pytest.mark.parametrize("task", [TextClassification(), TextClassification(pair=True), ImageClassification()])
def test_edge_cases_are_inputs_that_predict_takes(task):
    frame = task.edge_cases()
    assert len(task.prepare(frame, with_targets=False)) == len(frame) > 10
    assert {name: len(values) for name, values in task.request(frame).items()} == dict.fromkeys(
        task.signature(), len(frame)
    )
