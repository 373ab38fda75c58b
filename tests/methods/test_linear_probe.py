"""Only the head learns."""

import numpy as np

from kerasft.fine_tuner import FineTuner


def test_only_the_head_learns(tiny_bert):
    model = FineTuner("text_classification", tiny_bert, "linear_probe", labels=["a", "b", "c"]).model
    assert sorted(v.path for v in model.trainable_weights) == ["head/logits/bias", "head/logits/kernel"]


def test_batch_statistics_and_backbone_stand_still(tiny_efficientnet, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24, 32, 32, 3), dtype="uint8")
    tuner = FineTuner("image_classification", tiny_efficientnet, "linear_probe", labels=["a", "b"])
    before = {v.path: v.numpy().copy() for v in tuner.model.weights}
    tuner.fit((images, ["a", "b"] * 12), epochs=1, batch_size=8, directory=tmp_path / "run")
    moved = {v.path for v in tuner.model.weights if not np.array_equal(v.numpy(), before[v.path])}
    assert moved == {"head/logits/bias", "head/logits/kernel"}
    assert any("moving_mean" in path for path in before)
