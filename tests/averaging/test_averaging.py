from pathlib import Path
from types import SimpleNamespace

import pytest

from kerasft import averaging
from kerasft.averaging.result import Average
from kerasft.errors import UserError


@pytest.mark.parametrize(
    ("how", "runs", "alpha", "message"),
    [
        ("gredy", ["a", "b"], None, "Did you mean 'greedy'"),
        ("uniform", ["a", "b"], 0.5, "alpha is of wise_ft alone"),
        ("wise_ft", ["a", Path("b")], None, "wise_ft takes one run.* Received: a, b"),
    ],
)
def test_what_does_not_go_together(how, runs, alpha, message):
    with pytest.raises(UserError, match=message):
        averaging.average(how, runs, "out", alpha, data="x.csv")


@pytest.mark.parametrize(
    ("monitor", "metric", "sign"),
    [("val_accuracy-max", "accuracy", 1), ("val_loss-min", "chrf", 1), ("val_loss-min", "perplexity", -1)],
)
def test_more_is_better_where_the_metric_says_so(monitor, metric, sign):
    average = object.__new__(Average)
    average.tuner = SimpleNamespace(task=SimpleNamespace(monitor=tuple(monitor.split("-"))))
    average.evaluations = {"validation": SimpleNamespace(metrics={metric: SimpleNamespace(value=3)})}
    assert average.worth({"validation": average.evaluations["validation"].metrics[metric]}) == 3 * sign
