import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.optimizers import AdamW

STEPS = 20


def variables():
    random = np.random.default_rng(0)
    shapes = {"embeddings": (7, 3), "kernel": (3, 4), "bias": (4,)}
    return [keras.Variable(random.normal(size=shape).astype("float32"), name=name) for name, shape in shapes.items()]


def gradients(step, indices=(5, 0, 5, 2)):
    """Returns a sparse gradient of these rows, and two dense ones; large at first, so that clipping acts."""
    random = np.random.default_rng(step + 1)
    scale = 3.0 if step < 10 else 0.01
    rows = tf.constant(random.normal(size=(4, 3)) * scale, "float32")
    sparse = tf.IndexedSlices(rows, tf.constant(indices), tf.constant([7, 3]))
    return [sparse, *(tf.constant(random.normal(size=shape) * scale, "float32") for shape in ((3, 4), (4,)))]


def dense(step):
    return [tf.convert_to_tensor(gradient) for gradient in gradients(step)]


def train(optimizer, gradients):
    trained = variables()
    optimizer.exclude_from_weight_decay(var_list=trained[2:])
    optimizer.build(trained)
    step = tf.function(lambda *grads: optimizer.apply(list(grads)))
    for number in range(STEPS):
        step(*gradients(number))
    return [variable.numpy() for variable in trained]


def rows_once(step):
    return gradients(step, indices=(5, 0, 6, 2))


@pytest.mark.parametrize("large", [1, 10**9], ids=["one pass", "one kernel after the other"])
@pytest.mark.parametrize("clip_norm", [1.0, None])
@pytest.mark.parametrize(("ours", "theirs"), [(dense, dense), (rows_once, rows_once), (gradients, dense)])
def test_it_is_keras_adamw(clip_norm, ours, theirs, large, monkeypatch):
    """Keras is wrong for a row that a sparse gradient names twice, as an embedding's does: it adds up the squares."""
    monkeypatch.setattr("kerasft.optimizers.adamw.LARGE", large)
    arguments = {"learning_rate": 0.01, "weight_decay": 0.1, "beta_2": 0.98, "epsilon": 1e-6}
    found = train(AdamW(clip_norm=clip_norm, **arguments), ours)
    expected = train(keras.optimizers.AdamW(global_clipnorm=clip_norm, **arguments), theirs)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_schedule_is_followed():
    schedules = [keras.optimizers.schedules.PolynomialDecay(0.02, STEPS, 0.0) for _ in range(2)]
    found = train(AdamW(schedules[0], clip_norm=None), dense)
    expected = train(keras.optimizers.AdamW(schedules[1], weight_decay=0.01), dense)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_norm_is_that_of_the_whole_gradient_before_clipping():
    optimizer = AdamW(clip_norm=0.5)
    optimizer.build(variables())
    optimizer.apply(gradients(0))
    whole = np.concatenate([gradient.numpy().ravel() for gradient in dense(0)])
    np.testing.assert_allclose(optimizer.gradient_norm.numpy(), np.linalg.norm(whole), rtol=1e-5)


def test_the_first_step_is_the_formula():
    weight = keras.Variable([1.0, -2.0])
    optimizer = AdamW(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0)
    optimizer.build([weight])
    optimizer.apply([tf.constant([3.0, 4.0])])  # Norm 5, so [0.6, 0.8]; Adam's first step is the sign of it.
    np.testing.assert_allclose(weight.numpy(), [1.0 - 0.05 - 0.1, -2.0 + 0.1 - 0.1], rtol=1e-5)


@pytest.mark.parametrize("large", [1, 10**9])
def test_a_gradient_that_is_no_number_stays_where_it_is(large, monkeypatch):
    monkeypatch.setattr("kerasft.optimizers.adamw.LARGE", large)
    weights = [keras.Variable([1.0]), keras.Variable([1.0])]
    optimizer = AdamW()
    optimizer.build(weights)
    optimizer.apply([tf.constant([np.nan]), tf.constant([0.1])])
    assert not np.isfinite(optimizer.gradient_norm.numpy())
    assert np.isnan(weights[0].numpy())


def test_config_round_trip():
    made = AdamW(learning_rate=0.1, weight_decay=0.2, clip_norm=None, beta_1=0.8)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(again) is AdamW
    assert again.get_config() == made.get_config()
    assert again.clip_norm is None


def test_amsgrad_is_refused():
    with pytest.raises(UserError, match="amsgrad"):
        AdamW(amsgrad=True)


@pytest.mark.parametrize("large", [1, 10**9])
def test_a_weight_that_joins_later_moves_as_under_a_new_optimizer(large, monkeypatch):
    """Keras would correct its young moments as old ones: here its first steps would be 6 times as long."""
    monkeypatch.setattr("kerasft.optimizers.adamw.LARGE", large)
    later, new = variables(), variables()
    for trained, before in ((later, 100), (new, 0)):
        optimizer = AdamW(0.1, clip_norm=None)
        optimizer.build(trained)
        optimizer.iterations.assign(before)
        optimizer.joined = {id(variable): before for variable in trained}
        for step in range(3):
            optimizer.apply(gradients(step))
    for one, other in zip(later, new, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("large", [1, 10**9])
def test_rates_by_weight_equal_optimizers_of_their_own(large, monkeypatch):
    """A weight of factor 1 / 4 moves, and decays, as under an optimizer of a quarter of the learning rate."""
    monkeypatch.setattr("kerasft.optimizers.adamw.LARGE", large)
    arguments = {"weight_decay": 0.2, "clip_norm": None}
    factors = {"kernel": 0.25, "embeddings": 0.0}
    mixed, whole, quarter = variables(), variables(), variables()
    start = [variable.numpy() for variable in mixed]
    for trained, rate, given in ((mixed, 0.1, factors), (whole, 0.1, {}), (quarter, 0.025, {})):
        optimizer = AdamW(rate, **arguments)
        optimizer.factors = {id(variable): given[variable.path] for variable in trained if variable.path in given}
        for step in range(3):
            optimizer.apply(gradients(step), trained)
    np.testing.assert_array_equal(mixed[0], start[0])
    np.testing.assert_allclose(mixed[1], quarter[1], rtol=1e-6)
    np.testing.assert_allclose(mixed[2], whole[2], rtol=1e-6)
