import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import Adversarial
from kerasft.objectives._distributions import divergence
from kerasft.objectives._perturbation import Perturbed, euclidean, greatest


def passes_of(objective, model, x):
    return Perturbed(model, x, objective.tap, objective.embedding and objective.embedding.output_dim, relative=True)


def lengths(batch):
    return np.sqrt((batch.images**2).sum((1, 2, 3), keepdims=True))


def rows_at(model, change, batch):
    """Returns the loss of each image plus a change, in lengths of the image, and its slope by pixel."""
    pixels = tf.constant(batch.images + change * lengths(batch))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        losses = keras.losses.sparse_categorical_crossentropy(batch.targets, model(pixels), from_logits=True)
        total = tf.reduce_sum(losses)
    return losses.numpy(), tape.gradient(total, pixels).numpy()


def unit(slope):
    return slope / np.sqrt((slope.astype("float64") ** 2).sum((1, 2, 3), keepdims=True))


@pytest.fixture
def made(make_model):
    """A function that returns `(objective, model)` of a ViT, which has no statistics of the batch."""

    def make(*args, **kwargs):
        objective = Adversarial(*args, **kwargs)
        return objective, make_model(objective, name="vit")

    return make


def test_fgm_is_one_step_up_the_slope(made, batch):
    objective, model = made("fgm", epsilon=0.05)
    found = objective(model, batch.images, batch.targets, model(batch.images))
    _, slope = rows_at(model, 0.0, batch)
    expected, _ = rows_at(model, (0.05 * unit(slope)).astype("float32"), batch)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    plain, _ = rows_at(model, 0.0, batch)
    assert (found.numpy() > plain).all()


def test_pgd_takes_steps_within_the_ball(made, batch):
    objective, model = made("pgd", epsilon=0.5, steps=3, step_size=0.3)
    change = np.zeros_like(batch.images)
    for _ in range(3):
        change = change + 0.3 * unit(rows_at(model, change.astype("float32"), batch)[1])
        length = np.sqrt((change**2).sum((1, 2, 3), keepdims=True))
        change *= np.minimum(1, 0.5 / length)
    expected, _ = rows_at(model, change.astype("float32"), batch)
    np.testing.assert_allclose(objective(model, batch.images, batch.targets, None), expected, rtol=1e-4)


def test_freelb_is_the_mean_on_the_way(made, batch):
    objective, model = made("freelb", epsilon=0.5, steps=2, step_size=0.2)
    y_pred = model(batch.images)
    found = objective(model, batch.images, batch.targets, y_pred)
    size = np.prod(batch.images.shape[1:])
    start = tf.random.stateless_uniform(batch.images.shape, model.step_seed("freelb"), -1.0, 1.0)
    change = 0.5 * start.numpy() / np.sqrt(size)
    first, slope = rows_at(model, change, batch)
    change = change + 0.2 * unit(slope)
    change *= np.minimum(1, 0.5 / np.sqrt((change**2).sum((1, 2, 3), keepdims=True)))
    second, _ = rows_at(model, change.astype("float32"), batch)
    plain, _ = rows_at(model, 0.0, batch)
    np.testing.assert_allclose(found + plain, (first + second) / 2, rtol=1e-4)


def test_smart_moves_the_outputs_farthest(made, batch):
    objective, model = made("smart", epsilon=0.01, weight=3.0)
    y_pred = model(batch.images)
    found = objective(model, batch.images, batch.targets, y_pred).numpy()
    start = 1e-5 * tf.random.stateless_normal(batch.images.shape, model.step_seed("smart"))
    with tf.GradientTape() as tape:
        tape.watch(start)
        moved = model(batch.images + start)
        total = tf.reduce_sum(divergence(moved, y_pred) + divergence(y_pred, moved))
    slope = tape.gradient(total, start)
    change = np.clip(start + 0.01 * slope / np.abs(slope).max((1, 2, 3), keepdims=True), -0.01, 0.01)
    moved = model(batch.images + change)
    np.testing.assert_allclose(found, 3 * (divergence(moved, y_pred) + divergence(y_pred, moved)), rtol=1e-3)
    random = model(batch.images + np.sign(np.random.default_rng(0).normal(size=change.shape)).astype("float32") * 0.01)
    assert found.sum() > 3 * np.sum(divergence(random, y_pred) + divergence(y_pred, random))


def test_texts_are_changed_in_their_embeddings_and_padding_is_not(make_model, batch):
    objective = Adversarial("fgm", epsilon=0.3)
    model = make_model(objective)
    passes = passes_of(objective, model, batch.texts)
    score = lambda outputs: model.row_losses(batch.targets, outputs)  # noqa: E731
    before, change = passes.climb(tf.zeros(passes.shape), score, 0.3, 0.3, euclidean)
    after = score(passes.outputs(change))
    assert (after.numpy() > before.numpy()).all()
    np.testing.assert_allclose(euclidean(change)[:, 0, 0], 0.3, rtol=1e-5)
    np.testing.assert_array_equal(change.numpy()[batch.padding_mask == 0], 0)
    mask = batch.padding_mask[..., None].astype("float32")
    with objective.tap.through(lambda embedded: embedded + change * euclidean(embedded * mask)):
        np.testing.assert_allclose(score(model(batch.texts)), after, rtol=1e-6)


def test_the_gradient_is_that_of_both_losses(make_model, step, batch):
    """With a fixed change, as FGM's is, the gradient is the mean of two plain ones'."""
    objective = Adversarial("fgm", epsilon=0.5)
    model = make_model(objective, name="vit")
    _, slope = rows_at(model, 0.0, batch)
    changed = batch.images + (0.5 * lengths(batch) * unit(slope)).astype("float32")
    _, gradient = step(model, batch.images, batch.targets)
    _, one = step(make_model(name="vit"), batch.images, batch.targets)
    _, two = step(make_model(name="vit"), changed, batch.targets)
    for found, first, second in zip(gradient, one, two, strict=True):
        np.testing.assert_allclose(found, first + second, atol=3e-5)


@pytest.mark.parametrize("norm", [euclidean, greatest])
def test_norms(norm):
    change = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    order = 2 if norm is euclidean else np.inf
    np.testing.assert_allclose(norm(change)[:, 0, 0], np.linalg.norm(change.reshape(2, -1), order, axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "fgsm"}, "kind must be one of fgm, pgd, freelb, smart. Received: kind='fgsm'"),
        ({"epsilon": 0}, "epsilon must be above 0. Received: epsilon=0"),
        ({"step_size": -1}, "step_size must be above 0. Received: step_size=-1"),
        ({"steps": 0}, "steps must be a whole number, 1 or more. Received: steps=0"),
        ({"weight": -1}, "weight must be 0 or more. Received: weight=-1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=f"adversarial: {message}"):
        Adversarial(**arguments)
