import keras
import numpy as np

from kerasft.methods import LinearProbe
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead


def test_only_the_head_learns(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    LinearProbe().apply(model)
    assert [weight.path for weight in model.trainable_weights] == ["head/logits/kernel", "head/logits/bias"]


def test_the_backbone_is_in_inference_mode(tiny_bert):
    """No dropout below the head; Keras drops out in layers that do not learn, too."""
    ids = np.random.default_rng(0).integers(5, 40, (4, 6))
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask"), dropout=0.0))
    assert not np.array_equal(model(inputs, training=True), model(inputs, training=False))
    model.choose(LinearProbe().apply)
    np.testing.assert_allclose(model(inputs, training=True), model(inputs, training=False), atol=1e-6)


def test_the_head_keeps_its_dropout(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask"), dropout=0.3))
    LinearProbe().apply(model)
    assert model.head.dropout.rate == 0.3


def test_statistics_stand_still(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    LinearProbe().apply(model)
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.random.default_rng(0).normal(size=(8, 32, 32, 3)) + 3.0, np.array([0, 1] * 4), verbose=0)
    moved = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert moved == {"head/logits/kernel", "head/logits/bias"}


def test_it_learns_faster_by_default():
    assert LinearProbe.learning_rate == {"text": 5e-3, "image": 5e-3}
