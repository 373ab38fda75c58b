"""Learning rates by weight, from `FineTuner` to the run folder."""

import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner


def tuner(make_tiny, method, learning_rate):
    backbone = make_tiny("bert", dropout=0.0)
    return FineTuner("text_classification", backbone, method, learning_rate=learning_rate, precision="float32")


@pytest.mark.parametrize(
    ("method", "pattern", "message"),
    [
        ("full", "nowhere", "No weight has a path that matches"),
        ("freeze", "^token_embedding", "The method trains none"),
    ],
)
def test_a_rate_without_effect_is_refused_before_anything_is_written(
    make_tiny, reviews, tmp_path, method, pattern, message
):
    directory = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        tuner(make_tiny, {"name": method}, {"head": 1e-3, pattern: 1e-3}).fit(reviews, epochs=1, directory=directory)
    assert not directory.exists()


def test_a_rate_of_weights_that_join_later(make_tiny, reviews, tmp_path):
    """The embeddings learn in the last of three stages; their rate is 0."""
    made = tuner(make_tiny, "gradual_unfreeze", {"": 1e-2, "^token_embedding": 0})
    before = {weight.path: weight.numpy() for weight in made.pretrained.backbone.weights}
    made.fit(reviews, epochs=3, batch_size=8, directory=tmp_path / "run")
    after = {weight.path: weight.numpy() for weight in made.model.weights}
    still = {path for path in before if path in after and np.array_equal(before[path], after[path])}
    assert still == {"token_embedding/embeddings"}
