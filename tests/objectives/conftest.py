"""What tests of objectives share: a tiny classifier without dropout, and one step of it."""

import keras
import numpy as np
import pytest

from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Batch:
    """Six texts of five tokens, and six images, with targets."""

    random = np.random.default_rng(0)
    token_ids = random.integers(5, 45, (6, 5))
    padding_mask = (np.arange(5) < np.array([5, 5, 4, 3, 5, 2])[:, None]).astype("int32")
    texts = {"token_ids": token_ids, "segment_ids": 0 * token_ids, "padding_mask": padding_mask}
    images = random.normal(size=(6, 32, 32, 3)).astype("float32")
    targets = np.array([0, 1, 1, 0, 2, 1])


@pytest.fixture
def batch():
    return Batch


@pytest.fixture
def make_model(make_tiny):
    """A function that returns a model with these objectives attached, compiled for plain gradient descent of rate 1.

    The same weights each time, and no dropout but what is asked for.
    """

    def build(*objectives, name="bert", dropout=0.0, classes=3, loss=LOSS):
        backbone = make_tiny(name, **({"dropout": dropout} if name != "efficientnet" else {})).backbone
        reads = ("image",) if name in ("efficientnet", "vit") else ("tokens", "mask")
        model = FineTunedModel(backbone, PooledHead(classes, reads, dropout=dropout), objectives)
        model.set_seed(0)
        for objective in objectives:
            objective.attach(model)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(model.trainable_variables)
        model.compile(optimizer, loss, run_eagerly=True)  # Tracing takes seconds; `tests/contracts` does it.
        return model

    return build


@pytest.fixture
def step():
    """A function that makes one step and returns the logs, and by how much it moved the weights: the gradient."""

    def run(model, x, y):
        before = [weight.numpy().copy() for weight in model.trainable_weights]
        logs = model.train_on_batch(x, y, return_dict=True)
        logs = {name: float(value) for name, value in logs.items()}
        return logs, [b - w.numpy() for b, w in zip(before, model.trainable_weights, strict=True)]

    return run
