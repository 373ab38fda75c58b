import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import Cutmix
from kerasft.objectives.cutmix import _rectangle


def test_a_rectangle_is_pasted_and_counts_by_its_area(make_model, step, batch):
    objective = Cutmix()
    model = make_model(objective, name="vit")
    share, partners = objective._drawn(model, 6)
    with objective.forward(model, batch.images, batch.targets) as x:
        mixed = x.numpy()
    is_pasted = (mixed != batch.images).any((0, 3))
    rows, columns = np.where(is_pasted)
    assert is_pasted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()  # It is a rectangle.
    np.testing.assert_array_equal(mixed[:, is_pasted], batch.images[partners.numpy()][:, is_pasted])
    hot, outside = np.eye(3, dtype="float32")[batch.targets], 1 - is_pasted.mean()
    soft = outside * hot + (1 - outside) * hot[partners.numpy()]
    plain = make_model(name="vit", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    expected, _ = step(plain, mixed, soft)
    logs, _ = step(model, batch.images, batch.targets)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_rectangles_have_the_area_and_are_cut_at_the_border():
    areas = np.array([_rectangle(tf.constant([40, 60]), 0.75, (0, seed)).numpy().sum() for seed in range(200)])
    assert areas.max() == 20 * 30  # A quarter: half of each side.
    assert areas.min() < 20 * 30 / 2


def test_texts_are_refused():
    tuner = types.SimpleNamespace(task=types.SimpleNamespace(modality="text"))
    with pytest.raises(UserError, match="cutmix works with images only. Received: a task that reads text"):
        Cutmix().prepare(tuner, None)
