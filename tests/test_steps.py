"""A batch in parts: the numbers of the whole, and how many rows at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import memory, steps
from kerasft.model import FineTunedModel
from kerasft.objectives.l2_sp import L2SP
from kerasft.objectives.mixout import Mixout
from kerasft.objectives.r_drop import RDrop
from kerasft.objectives.sam import Sam
from kerasft.tasks._head import PooledHead

ROWS, WIDTH = 7, 6


def made(make_tiny, objectives=(), dropout=0.0):
    head = PooledHead(2, ("tokens", "mask"), dropout=dropout)
    model = FineTunedModel(make_tiny("bert", dropout=dropout).backbone, head, objectives)
    for objective in objectives:
        objective.attach(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.optimizer.build(model.trainable_variables)
    return model


def batch():
    random = np.random.default_rng(0)
    ids = random.integers(5, 40, (ROWS, WIDTH))
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.arange(WIDTH) < [[3]] * ROWS}
    return tf.nest.map_structure(tf.constant, (inputs, random.integers(2, size=ROWS)))


def computed(model, rows_at_once=None):
    model.rows_at_once = rows_at_once
    return tf.function(lambda: model._computed(batch())._replace(updates=[]))()


@pytest.mark.parametrize(
    ("objectives", "rows_at_once"),
    [((), 1), ((), 7), ((), 8), ((L2SP(), RDrop()), 3), ((Mixout(0.5), Sam()), 2)],
    ids=lambda value: str(value if isinstance(value, int) else len(value)),
)
def test_parts_add_up_to_the_whole(make_tiny, objectives, rows_at_once):
    model = made(make_tiny, objectives)
    whole, parts = computed(model), computed(model, rows_at_once)
    np.testing.assert_allclose(parts.loss, whole.loss, atol=1e-6)
    np.testing.assert_allclose(parts.y_pred, whole.y_pred, atol=1e-6)
    assert parts.terms.keys() == whole.terms.keys()
    for name, term in whole.terms.items():
        np.testing.assert_allclose(parts.terms[name], term, atol=1e-6)
    for one, other in zip(parts.gradients, whole.gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=1e-6)
    assert any(np.abs(tf.convert_to_tensor(gradient)).max() > 1e-3 for gradient in whole.gradients)


@pytest.mark.parametrize("objectives", [(), (Mixout(0.0),)], ids=len)
def test_each_part_draws_its_own_dropout(make_tiny, objectives):
    model = made(make_tiny, objectives, dropout=0.5)
    inputs, targets = tf.nest.map_structure(lambda tensor: tf.repeat(tensor[:1], 4, axis=0), batch())
    model.rows_at_once = 1
    outputs = tf.function(lambda: model._computed((inputs, targets)).y_pred)()
    assert len(np.unique(outputs.numpy().round(6), axis=0)) == 4


def test_seeds_go_on_where_the_last_part_left_them(make_tiny):
    model = made(make_tiny, [Mixout(0.5)], dropout=0.5)
    seeds = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    before = [seed.numpy() for seed in seeds]
    model.rows_at_once = 3
    model.make_train_function()
    model.train_on_batch(*batch())
    assert all((seed.numpy() - start).max() == 3 for seed, start in zip(seeds, before, strict=True))


def test_a_trained_weight_without_a_gradient_has_none_in_parts_either(make_tiny):
    model = made(make_tiny)
    model.beside("unread", lambda: keras.layers.Dense(2)).build((1, 2))
    whole, parts = computed(model).gradients, computed(model, 2).gradients
    assert [gradient is None for gradient in parts] == [gradient is None for gradient in whole]
    assert whole[-1] is None


# === How many rows at once ===


def dataset():
    return tf.data.Dataset.from_tensor_slices(batch()).batch(ROWS)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_trial_changes_nothing(make_tiny, enough_memory, dropout):
    model = made(make_tiny, [Sam()], dropout)
    before = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    assert steps.rows_that_fit(model, dataset()) is None
    after = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("megabytes", "expected"), [(0, 1), (160, 2), (220, 4), (10_000, None)])
def test_the_forecast_of_memory_decides(make_tiny, monkeypatch, megabytes, expected):
    tried, million = [], 1_000_000  # 50 MB a row beside 1 GB: 150 MB are forecast for 2 rows, 200 for 4, 400 for 7.
    monkeypatch.setattr(memory, "used", lambda: 1000 * million)
    monkeypatch.setattr(memory, "peak", lambda: (1000 + 50 * max(tried, default=0)) * million)
    monkeypatch.setattr(steps, "GRAPH", 0)
    monkeypatch.setattr(memory, "free", lambda: (megabytes * million / steps.SHARE, 0))

    class Model(FineTunedModel):
        def attempt(self, data):
            return tf.numpy_function(lambda x: tried.append(len(x)) or 0.0, [data[0]["token_ids"]], "double")

    model = made(make_tiny)
    model.__class__ = Model
    assert steps.rows_that_fit(model, dataset()) == expected


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [([10, 20], 40), ([10, 20, 24], 32), ([10, 50, 40], 40)],
    ids=["fixed and by row", "by row", "within what the process holds anyway"],
)
def test_forecasts_for_twice_the_rows(peaks, expected):
    assert steps._forecast(peaks) == expected


@pytest.mark.parametrize(("most", "expected"), [pytest.param(1, 1, marks=pytest.mark.slow), (3, 2), (7, None)])
def test_a_device_that_has_no_memory_left_says_so(make_tiny, monkeypatch, enough_memory, most, expected):
    def attempt(model, data):
        return tf.zeros([tf.maximum(1, (tf.shape(data[1])[0] - most) * 2**28), 2**17])

    monkeypatch.setattr(FineTunedModel, "attempt", attempt)
    assert steps.rows_that_fit(made(make_tiny), dataset()) == expected


def test_one_row_that_is_too_much_is_an_error(make_tiny, monkeypatch):
    monkeypatch.setattr(FineTunedModel, "attempt", lambda model, data: tf.zeros([tf.shape(data[1])[0] * 2**28, 2**17]))
    with pytest.raises(tf.errors.ResourceExhaustedError):
        steps.rows_that_fit(made(make_tiny), dataset())
