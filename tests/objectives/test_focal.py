import keras
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.objectives import Focal


def test_value_and_gradient_are_those_of_the_formula(make_model, step, batch):
    gamma = 2.0
    model = make_model(Focal(gamma))
    logits = model(batch.texts).numpy().astype("float64")
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    hot = np.eye(3)[batch.targets]
    right = (p * hot).sum(-1)
    logs, gradient = step(model, batch.texts, batch.targets)
    assert logs["loss"] == pytest.approx((-((1 - right) ** gamma) * np.log(right)).mean(), rel=1e-5)
    # d loss / d logit_j = (gamma (1-p)^(gamma-1) p log p - (1-p)^gamma) (1[j is right] - p_j)
    slope = gamma * (1 - right) ** (gamma - 1) * right * np.log(right) - (1 - right) ** gamma
    by_logit = slope[:, None] * (hot - p) / len(p)
    np.testing.assert_allclose(gradient[-1], by_logit.sum(0), rtol=1e-4)  # The last weight is the head's bias.


def test_with_several_labels_a_row_it_equals_keras_own(make_model, step, batch):
    targets = (np.eye(3)[batch.targets] + np.eye(3)[[0, 0, 0, 2, 1, 1]] > 0).astype("float32")
    logs, _ = step(make_model(Focal(2.0), loss=keras.losses.BinaryCrossentropy(from_logits=True)), batch.texts, targets)
    keras_own = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    expected, _ = step(make_model(loss=keras_own), batch.texts, targets)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_a_gamma_of_0_changes_nothing(make_model, step, batch):
    logs, _ = step(make_model(Focal(0.0)), batch.texts, batch.targets)
    assert logs["focal"] == 0.0


def test_a_gamma_below_0_is_refused():
    with pytest.raises(UserError, match="focal: gamma must be 0 or more. Received: gamma=-1"):
        Focal(-1)
