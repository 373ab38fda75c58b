"""Only normalisation and the head learn."""

from typing import ClassVar

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods.base import Method


class NormOnly(Method):
    """Trains the scales and shifts of all normalisation layers of the backbone, and the head.

    Works for every architecture; the statistics of BatchNorm move too, as in the paper.

    Raises: UserError if the backbone has no normalisation.
    Example: >>> kerasft.FineTuner(task="image_classification", backbone=…, method="norm_only")
    Source: Frankle, Schwab & Morcos 2020, https://arxiv.org/abs/2003.00152.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-3, "image": 5e-3}

    def apply(self, model):
        layers = [layer for layer in weights.layers_below_head(model) if "norm" in type(layer).__name__.lower()]
        chosen = [v for layer in layers for v in layer.weights if weights.is_of_normalization(v.name)]
        if not chosen:
            raise UserError("norm_only: the backbone has no normalisation layers. Received: method='norm_only'")
        weights.train_only(model, chosen)
