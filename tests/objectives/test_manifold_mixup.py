import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives import ManifoldMixup
from kerasft.surgery import bottlenecks


def test_places_are_the_blocks_that_all_goes_through(make_model):
    bert, efficientnet = ManifoldMixup(), ManifoldMixup()
    names = [layer.name for layer in bottlenecks(make_model(bert))]
    assert {"transformer_layer_0", "transformer_layer_1"} <= set(names)
    assert "position_embedding" not in names  # The token embeddings go around it.
    assert len(bert.taps) == 2
    make_model(efficientnet, name="efficientnet")
    assert len(efficientnet.taps) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_place_is_mixed_in_its_turn(make_model, step, batch, place):
    objective = ManifoldMixup(alpha=2.0)
    model = make_model(objective, name="efficientnet")
    drawn = lambda: int(tf.random.stateless_uniform((), model.step_seed("manifold_mixup place"), 0, 3, tf.int32))  # noqa: E731
    while drawn() != place:
        model.optimizer.iterations.assign_add(1)
    share, partners = (value.numpy() for value in objective._drawn(model, 6))
    mix = lambda values: share * values + (1 - share) * tf.gather(values, partners)  # noqa: E731
    if place:
        with objective.taps[place - 1].through(mix):
            outputs = model(batch.images, training=True)
    else:
        outputs = model(mix(batch.images), training=True)
    hot = np.eye(3, dtype="float32")[batch.targets]
    expected = keras.losses.CategoricalCrossentropy(from_logits=True)(mix(hot), outputs)
    logs, _ = step(model, batch.images, batch.targets)
    assert logs["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_texts_are_mixed_behind_a_block(make_model, step, batch):
    logs, _ = step(make_model(ManifoldMixup()), batch.texts, batch.targets)
    assert logs["manifold_mixup"] != 0


def test_a_share_of_no_distribution_is_refused():
    with pytest.raises(UserError, match="manifold_mixup: alpha must be above 0. Received: alpha=-1"):
        ManifoldMixup(-1)
