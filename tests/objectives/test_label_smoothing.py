import keras
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.objectives import LabelSmoothing


def test_it_equals_keras_own(make_model, step, batch):
    logs, gradient = step(make_model(LabelSmoothing(0.2)), batch.texts, batch.targets)
    keras_own = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    expected, wanted = step(make_model(loss=keras_own), batch.texts, np.eye(3)[batch.targets])
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for one, two in zip(gradient, wanted, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_with_several_labels_a_row_it_equals_keras_own(make_model, step, batch):
    targets = np.eye(3)[batch.targets] + np.eye(3)[[0, 0, 0, 2, 1, 1]] > 0
    plain = keras.losses.BinaryCrossentropy(from_logits=True)
    logs, _ = step(make_model(LabelSmoothing(0.2), loss=plain), batch.texts, targets.astype("float32"))
    keras_own = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)
    expected, _ = step(make_model(loss=keras_own), batch.texts, targets.astype("float32"))
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, "much", float("nan"), True])
def test_what_is_no_share_is_refused(smoothing):
    with pytest.raises(UserError, match="smoothing must be 0 or more and 1 at most. Received: smoothing="):
        LabelSmoothing(smoothing)
