import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import LabelSmoothing, Mixup

SOFT = keras.losses.CategoricalCrossentropy(from_logits=True)


def soft_targets(batch, share, partners):
    hot = np.eye(3, dtype="float32")[batch.targets]
    return share * hot + (1 - share) * hot[partners]


def test_images_and_targets_are_mixed_alike(make_model, step, batch):
    objective = Mixup(alpha=2.0)
    model = make_model(objective, name="vit")
    share, partners = (value.numpy() for value in objective._drawn(model, 6))
    assert 0.01 < share < 0.99 and sorted(partners) == list(range(6))
    pixels = share * batch.images + (1 - share) * batch.images[partners]
    expected, wanted = step(
        make_model(name="vit", loss=SOFT), pixels.astype("float32"), soft_targets(batch, share, partners)
    )
    logs, gradient = step(model, batch.images, batch.targets)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    for one, two in zip(gradient, wanted, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_texts_are_mixed_before_the_last_layer(make_model, step, batch):
    objective = Mixup(alpha=2.0)
    model = make_model(objective)
    share, partners = (value.numpy() for value in objective._drawn(model, 6))
    with objective.tap.reading() as read:
        model(batch.texts)
    vectors = share * read[0] + (1 - share) * tf.gather(read[0], partners)
    expected = float(SOFT(soft_targets(batch, share, partners), model.head.logits(vectors)))
    logs, _ = step(model, batch.texts, batch.targets)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mixup_first", [True, False])
def test_smoothed_targets_are_mixed_too(make_model, step, batch, mixup_first):
    objective = Mixup(alpha=2.0)
    both = [objective, LabelSmoothing(0.3)]
    model = make_model(*(both if mixup_first else both[::-1]), name="vit")
    share, partners = (value.numpy() for value in objective._drawn(model, 6))
    pixels = (share * batch.images + (1 - share) * batch.images[partners]).astype("float32")
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    expected, _ = step(make_model(name="vit", loss=smooth), pixels, soft_targets(batch, share, partners))
    logs, _ = step(model, batch.images, batch.targets)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_shares_are_of_the_beta_distribution(make_model):
    objective = Mixup(alpha=0.4)
    model, shares = make_model(objective, name="vit"), []
    for number in range(300):
        model.optimizer.iterations.assign(number)
        shares.append(float(objective._drawn(model, 6)[0]))
    # The mean of Beta(a, a) is 1/2, its variance 1 / (8a + 4).
    np.testing.assert_allclose([np.mean(shares), np.var(shares)], [0.5, 1 / 7.2], atol=0.05)


def test_outside_of_a_step_nothing_is_mixed(make_model, step, batch):
    model = make_model(Mixup())
    before = model(batch.texts, training=True).numpy()
    model.optimizer.learning_rate = 0.0
    step(model, batch.texts, batch.targets)
    np.testing.assert_array_equal(model(batch.texts, training=True), before)


def test_a_share_of_no_distribution_is_refused():
    with pytest.raises(UserError, match="mixup: alpha must be above 0. Received: alpha=0"):
        Mixup(0)
