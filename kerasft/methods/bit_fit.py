"""Only biases and the head learn."""

from typing import ClassVar

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods.base import Method


class BitFit(Method):
    """Trains the biases of the backbone, the shifts of its normalisation among them, and the head.

    A thousandth of the weights. Backbones without biases, as Llama's kin, cannot use it.

    Raises: UserError if the backbone has no biases.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="bit_fit")
    Source: Ben Zaken, Ravfogel & Goldberg 2021, https://arxiv.org/abs/2106.10199.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-3, "image": 5e-3}

    def apply(self, model):
        biases = [v for layer in model.backbone_layers for v in layer.weights if v.name in ("bias", "beta")]
        if not biases:
            raise UserError("bit_fit: the backbone has no biases; try norm_only or lora. Received: method='bit_fit'")
        weights.train_only(model, biases)
