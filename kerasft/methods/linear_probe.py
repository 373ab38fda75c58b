"""Only the head learns."""

from typing import ClassVar

from kerasft import weights
from kerasft.methods.base import Method


class LinearProbe(Method):
    """Trains the head on the features of a frozen backbone.

    Fast and small, and hard to overfit; falls behind `full` where the data differ from those of the pretraining.
    The backbone runs in inference mode, and over several epochs only once: no dropout, BatchNorm statistics as
    pretrained.

    Example: >>> kerasft.FineTuner(task="image_classification", backbone=…, method="linear_probe")
    Source: Alain & Bengio 2016, https://arxiv.org/abs/1610.01644.
    """

    learning_rate: ClassVar[dict] = {"text": 5e-3, "image": 5e-3}

    def apply(self, model):
        weights.train_only(model, [])
