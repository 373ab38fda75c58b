"""Everything learns."""

from kerasft import weights
from kerasft.checks import check, check_whole
from kerasft.errors import UserError
from kerasft.methods.base import Method


class Full(Method):
    """Trains every weight of backbone and head.

    The strongest choice where there are a few thousand examples and the memory for it: the optimizer keeps two
    more numbers for each weight.

    Args:
        layer_decay: float above 0, up to 1. Learning rate of each block, relative to the one above it; the head has the
            run's. 1 trains all at the same rate.
        reinit_blocks: int, 0 or more. So many of the top blocks, with what follows them, such as the pooler, begin with
            new weights, of their own initializers and the run's seed: their pretrained ones are made for the
            pretraining's task. Try 1 to 3 where few examples make the score depend on the seed.

    Raises: UserError for arguments out of range, or for a backbone that does not have the blocks that they need.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="full")
    Source: Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, section 4 ("full"); layer decay: Clark et al. 2020,
        https://arxiv.org/abs/2003.10555, appendix A; new weights: Zhang et al. 2021, https://arxiv.org/abs/2006.05987,
        section 5.
    """

    def __init__(self, layer_decay=1.0, reinit_blocks=0):
        check("full", "layer_decay", layer_decay, 0, 1, low_is_allowed=False)
        check_whole("full", "reinit_blocks", reinit_blocks, low=0)
        self.layer_decay = layer_decay
        self.reinit_blocks = reinit_blocks
        self.starts_as_pretrained = not reinit_blocks

    def attach(self, model):
        blocks = len(weights.blocks(model.backbone_layers)[1])
        if self.reinit_blocks > blocks:
            raise UserError(f"full: the backbone has {blocks} blocks. Received: reinit_blocks={self.reinit_blocks}")
        if self.reinit_blocks:
            weights.reinitialize(layer for group in weights.groups(model)[: self.reinit_blocks] for layer in group)

    def apply(self, model):
        weights.train_all(model)

    def rates(self, model):
        return weights.decayed_by_group(model, self.layer_decay) if self.layer_decay < 1 else {}
