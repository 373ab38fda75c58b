"""From the top downwards, one block more in each stage."""

import functools
import math
from typing import ClassVar

from kerasft import weights
from kerasft.checks import check
from kerasft.methods.base import Method, Stage


class GradualUnfreeze(Method):
    """Trains the head and the last block, then one block more each epoch, with smaller rates further down.

    The schedule and the optimizer's state go on through all stages. With fewer epochs than blocks, several blocks
    join at once; with more, the last stage is longer. The paper's schedule is `schedule="slanted_triangular"`.

    Args:
        layer_decay: float above 0, up to 1. Learning rate of each block, relative to the one above it. The paper's
            0.385, for an LSTM of three layers, leaves the lowest of many blocks nearly still.

    Raises: UserError if it is out of range, or the backbone has no blocks.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, method="gradual_unfreeze", schedule="slanted_triangular")
    Source: Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, sections 3.2 and 3.3.
    """

    learning_rate: ClassVar[dict] = {"text": 2e-4, "image": 5e-4}

    def __init__(self, layer_decay=0.8):
        check("gradual_unfreeze", "layer_decay", layer_decay, 0, 1, low_is_allowed=False)
        self.layer_decay = layer_decay

    def apply(self, model):
        weights.train_all(model)

    def stages(self, model, epochs):
        groups = len(weights.groups(model))
        count = min(epochs, groups)
        lengths = [1] * (count - 1) + [epochs - count + 1]
        unfrozen = [math.ceil(groups * (number + 1) / count) for number in range(count)]
        return [
            Stage(f"top {n} of {groups}", length, functools.partial(self._unfreeze, n), continues=number > 0)
            for number, (n, length) in enumerate(zip(unfrozen, lengths, strict=True))
        ]

    def rates(self, model):
        return weights.decayed_by_group(model, self.layer_decay)

    @staticmethod
    def _unfreeze(count, model):
        weights.train_all(model)
        for layers in weights.groups(model)[count:]:
            for layer in layers:
                layer.trainable = False
