import math

import numpy as np
import pandas as pd
import pytest

from kerasft.errors import UserError
from kerasft.evaluation import classification, multi_task, regression
from kerasft.tasks.multi_task import MultiTask

TASK = MultiTask(
    {
        "verdict": {"name": "text_classification", "labels": ["bad", "good"]},
        "stars": {"name": "text_regression", "mean": 10.0, "deviation": 2.0},
    }
)
FRAME = pd.DataFrame({"text": list("abcd"), "verdict": ["good", "bad", "good", None], "stars": [1, 2, None, 4]})
TARGETS = np.array([[1, 0.1], [0, 0.2], [1, math.nan], [math.nan, 0.4]], "float32")
OUTPUTS = np.array([[0, 2, 0.2], [0, 1, 0.3], [0, 3, 9], [9, 0, 0.4]], "float32")


def test_each_task_is_measured_by_its_own_measures_where_it_has_an_answer():
    found = multi_task.evaluate(TARGETS, OUTPUTS, frame=FRAME, **TASK.evaluation_arguments())
    labels = classification.evaluate(
        TARGETS[:3, 0].astype(int), OUTPUTS[:3, :2], labels=["bad", "good"], multi_label=False
    )
    stars = regression.evaluate(TARGETS[[0, 1, 3], 1:], OUTPUTS[[0, 1, 3], 2:], mean=10.0, deviation=2.0)
    expected = {f"verdict_{n}": m for n, m in labels.metrics.items()} | {
        f"stars_{n}": m for n, m in stars.metrics.items()
    }
    assert found.metrics.keys() == expected.keys()
    for name, estimate in expected.items():
        np.testing.assert_array_equal(found.metrics[name], estimate)
    assert found.examples == 4
    assert found.counted()["tasks"]["stars"] == {"examples": 3}
    assert found.tasks["verdict"].mistakes[0]["preview"] == "b"


def test_the_headline_names_the_task_and_the_others():
    headline = multi_task.evaluate(TARGETS, OUTPUTS, frame=FRAME, **TASK.evaluation_arguments()).headline()
    assert headline.words == "verdict: of 3 texts right"
    assert headline.aside.startswith("stars: ")


def test_a_task_without_answers_is_left_out():
    targets = TARGETS.copy()
    targets[:, 0] = math.nan
    found = multi_task.evaluate(targets, OUTPUTS, frame=FRAME, **TASK.evaluation_arguments())
    assert list(found.tasks) == ["stars"]
    assert multi_task.picture(targets, OUTPUTS, **TASK.evaluation_arguments()).name == "scatter"


def test_no_answers_at_all():
    with pytest.raises(UserError, match="an answer for no task"):
        multi_task.evaluate(0 * TARGETS + math.nan, OUTPUTS, frame=FRAME, **TASK.evaluation_arguments())
