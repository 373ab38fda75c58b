"""Everything learns."""

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods.base import Method


class Full(Method):
    """Trains every weight of backbone and head.

    The strongest choice where there are a few thousand examples and the memory for it: the optimizer keeps two
    more numbers for each weight.

    Args:
        layer_decay: float above 0, up to 1. Learning rate of each block, relative to the one above it; the head has the
            run's. 1 trains all at the same rate.

    Raises: UserError if it is out of range, or below 1 for a backbone without blocks.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="full")
    Source: Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, section 4 ("full"); layer decay: Clark et al. 2020,
        https://arxiv.org/abs/2003.10555, appendix A.
    """

    def __init__(self, layer_decay=1.0):
        if not 0 < layer_decay <= 1:
            raise UserError(f"full: layer_decay must be above 0, 1 at most. Received: layer_decay={layer_decay!r}")
        self.layer_decay = layer_decay

    def apply(self, model):
        weights.train_all(model)

    def rates(self, model):
        return weights.decayed_by_group(model, self.layer_decay) if self.layer_decay < 1 else {}
