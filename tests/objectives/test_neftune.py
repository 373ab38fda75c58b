import types

import numpy as np
import pytest

from kerasft import deltas
from kerasft.errors import UserError
from kerasft.objectives import Neftune
from kerasft.taps import tap


def test_noise_is_as_large_as_the_formula_says(make_model, batch):
    objective = Neftune(alpha=5.0)
    model = make_model(objective)
    layer = deltas.token_embedding(model, "test")
    with tap(layer).reading() as plain:
        model(batch.texts, training=True)
    with objective.forward(model, batch.texts, batch.targets) as x, tap(layer).reading() as noisy:
        assert x is batch.texts
        model(x, training=True)
    noise = noisy[0].numpy() - plain[0].numpy()
    bound = 5.0 / np.sqrt(batch.padding_mask.sum(-1) * noise.shape[-1])[:, None, None]
    scaled = noise / bound
    assert np.abs(scaled).max() <= 1.0 + 1e-5
    np.testing.assert_allclose([scaled.mean(), scaled.var()], [0, 1 / 3], atol=0.06)  # Uniform from -1 to 1.


def test_it_is_in_the_step_and_nowhere_else(make_model, step, batch):
    model = make_model(Neftune(20.0))
    before = model(batch.texts, training=True).numpy()
    logs, _ = step(model, batch.texts, batch.targets)
    plain, _ = step(make_model(), batch.texts, batch.targets)
    assert set(logs) == {"loss"} and logs["loss"] != pytest.approx(plain["loss"], rel=1e-4)
    np.testing.assert_allclose(make_model(Neftune(20.0))(batch.texts, training=True), before)


def test_images_are_refused():
    tuner = types.SimpleNamespace(task=types.SimpleNamespace(modality="image"))
    with pytest.raises(UserError, match="neftune works with texts only. Received: a task that reads image"):
        Neftune().prepare(tuner, None)


def test_a_strength_below_0_is_refused():
    with pytest.raises(UserError, match="neftune: alpha must be 0 or more. Received: alpha=-5"):
        Neftune(-5)
