"""Straight lines between examples."""

import contextlib
from typing import ClassVar

from kerasft.errors import UserError
from kerasft.objectives._mixing import Mixing, blended
from kerasft.taps import tap


class Mixup(Mixing):
    """Trains on weighted means of two examples: of the pixels of images, of what the last layer reads for texts.

    Words have no mean, so texts are mixed as vectors, before the head's last layer.

    Args:
        alpha: float above 0. The share is drawn from Beta(alpha, alpha): 0.1 to 0.4 for images; more regularises more.

    Raises: UserError if it is not above 0, or for texts with a head that has no dropout before its last layer.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "mixup", "alpha": 0.2}])
    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412, section 2; texts: Guo, Mao & Zhang 2019,
        https://arxiv.org/abs/1905.08941 ("senMixup").
    """

    name: ClassVar[str] = "mixup"

    def __init__(self, alpha=0.2):
        super().__init__(alpha)

    def attach(self, model):
        if isinstance(model.input, dict):
            if not hasattr(model.head, "dropout"):
                raise UserError(f"mixup knows no place for texts in this head. Received: {type(model.head).__name__}")
            self.tap = tap(model.head.dropout)

    @contextlib.contextmanager
    def mix(self, model, x, share, partners):
        if not isinstance(x, dict):
            yield blended(x, share, partners), share
            return
        with self.tap.through(lambda values: blended(values, share, partners)):
            yield x, share
