import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.objectives import RDrop


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_value_is_that_of_the_formula(make_model, batch):
    """The model gives other outputs in each pass, known beforehand."""
    objective = RDrop(alpha=0.7)
    model = make_model(objective)
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 6, 3)).astype("float32")
    passes = iter([second])

    class Passes:
        row_losses = staticmethod(model.row_losses)

        def __call__(self, x, training):
            assert training and x is batch.texts
            return next(passes)

    found = objective(Passes(), batch.texts, batch.targets, first).numpy()
    p, q = softmax(first.astype("float64")), softmax(second.astype("float64"))
    loss = [-np.log(z[np.arange(6), batch.targets]) for z in (p, q)]
    apart = ((p * np.log(p / q)).sum(-1) + (q * np.log(q / p)).sum(-1)) / 2
    np.testing.assert_allclose(loss[0] + found, (loss[0] + loss[1]) / 2 + 0.7 * apart, rtol=1e-4, atol=1e-6)


def test_without_dropout_both_passes_agree(make_model, step, batch):
    logs, gradient = step(make_model(RDrop()), batch.texts, batch.targets)
    _, plain = step(make_model(), batch.texts, batch.targets)
    assert logs["r_drop"] == pytest.approx(0.0, abs=1e-6)
    for one, two in zip(gradient, plain, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_with_dropout_they_do_not(make_model, step, batch):
    logs, _ = step(make_model(RDrop(5.0), dropout=0.5), batch.texts, batch.targets)
    assert abs(logs["r_drop"]) > 1e-4


def test_a_weight_below_0_is_refused():
    with pytest.raises(UserError, match="r_drop: alpha must be 0 or more. Received: alpha=-1"):
        RDrop(-1)
