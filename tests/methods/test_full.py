import random

import numpy as np
import pytest

import kerasft
from kerasft import weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.methods import Freeze, Full
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


@pytest.fixture
def model(tiny_efficientnet):
    return FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))


def test_everything_learns(model):
    Full().apply(model)
    statistics = [weight for weight in model.weights if weight.name.startswith("moving_")]
    assert len(statistics) > 4
    assert len(model.trainable_weights) == len(model.weights) - len(statistics)


def test_it_undoes_what_was_frozen_before(model):
    Freeze(blocks=1).apply(model)
    Full().apply(model)
    assert all(layer.trainable for layer in model.layers)


def test_one_stage(model):
    (stage,) = Full().stages(model, 3)
    assert (stage.name, stage.epochs) == ("Full", 3)


def test_learning_rates():
    assert Full.learning_rate == {"text": 5e-5, "image": 5e-4}


def values(model):
    return {path: weight.numpy().copy() for path, weight in weights.by_path(model).items()}


def attached(family, seed, **arguments):
    """Returns the values before and after `attach` of a model of this family."""
    made = FineTunedModel(families.make(family).backbone, PooledHead(2, ("tokens", "mask", "pooled")))
    before = values(made)
    random.seed(seed)
    Full(**arguments).attach(made)
    return before, values(made)


def test_the_top_blocks_and_what_follows_begin_anew():
    before, after = attached("bert", 0, reinit_blocks=1)
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    kernels = {
        path for path in before if path.startswith(("transformer_layer_1/", "pooled_dense/")) and "kernel" in path
    }
    assert len(kernels) == 7
    assert changed == kernels  # Biases and scales of the tiny model are as new.
    for path in kernels:  # BERT's initializer: a normal distribution of deviation 0.02, cut off at two of them.
        assert 0.012 < after[path].std() < 0.024 and np.abs(after[path]).max() <= 0.04


def test_the_new_weights_are_those_of_the_seed():
    (_, first), (_, same), (_, other) = (attached("bert", seed, reinit_blocks=2) for seed in (1, 1, 2))
    kernel = "transformer_layer_0/self_attention_layer/query/kernel"
    assert all(np.array_equal(first[path], same[path]) for path in first)
    assert not np.array_equal(first[kernel], other[kernel])


def test_moved_biases_and_statistics_begin_anew_too(model):
    for weight in model.weights:
        weight.assign(weight + 1)
    Full(reinit_blocks=1).attach(model)
    found = {path.rsplit("/", 1)[1]: v for path, v in values(model).items() if path.startswith("top_bn/")}
    assert {name: float(value[0]) for name, value in found.items()} == {
        "gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0,
    }  # fmt: skip


def test_it_says_that_it_does_not_begin_as_pretrained():
    assert Full().starts_as_pretrained and not Full(reinit_blocks=1).starts_as_pretrained


@pytest.mark.parametrize("blocks", [-1, 1.5])
def test_blocks_out_of_range(blocks):
    with pytest.raises(UserError, match=f"Received: reinit_blocks={blocks}"):
        Full(reinit_blocks=blocks)


@pytest.mark.parametrize("decay", [0, 1.5, "0.9", None])
def test_a_decay_out_of_range(decay):
    with pytest.raises(UserError, match=f"full: layer_decay must be .* Received: layer_decay={decay!r}"):
        Full(layer_decay=decay)


def test_more_blocks_than_there_are(model):
    with pytest.raises(UserError, match="has 2 blocks. Received: reinit_blocks=3"):
        Full(reinit_blocks=3).attach(model)


def test_a_layer_that_does_not_say_how_it_was_made():
    made = FineTunedModel(families.make("gemma").backbone, PooledHead(2, ("tokens", "mask"), "last"))
    with pytest.raises(UserError, match="cannot be made. Received: decoder_block_1/"):
        Full(reinit_blocks=1).attach(made)


def test_a_run_with_new_weights_loads(tiny_bert, reviews, tmp_path):
    method = {"name": "full", "reinit_blocks": 1}
    tuner = FineTuner("text_classification", tiny_bert, method, labels=["positive", "negative"])
    tuner.fit(reviews, epochs=1, batch_size=16, directory=tmp_path / "run")
    expected = tuner.predict(["a good film"])["scores"]
    assert kerasft.load(tmp_path / "run").method.reinit_blocks == 1
    np.testing.assert_allclose(kerasft.load(tmp_path / "run").predict(["a good film"])["scores"], expected, atol=1e-6)
