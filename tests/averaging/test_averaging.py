import pytest

from kerasft import averaging
from kerasft.errors import UserError


@pytest.mark.parametrize(
    ("how", "runs", "alpha", "message"),
    [
        ("gredy", ["a", "b"], None, "Did you mean 'greedy'"),
        ("uniform", ["a", "b"], 0.5, "alpha is of wise_ft alone"),
        ("wise_ft", ["a", "b"], None, "wise_ft takes one run.* Received: a, b"),
    ],
)
def test_what_does_not_go_together(how, runs, alpha, message):
    with pytest.raises(UserError, match=message):
        averaging.average(how, runs, "out", alpha, data="x.csv")
