"""The lower part of the backbone stays as it is."""

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods.base import Method


class Freeze(Method):
    """Freezes the embeddings or stem and the first blocks of the backbone; the rest and the head learn.

    The lower layers hold what is common to all tasks. Freezing them saves the time and memory of their gradients, and
    over several epochs of all that lies below the first block that learns, which runs once, in inference mode.

    Args:
        blocks: int. Number of blocks to freeze, from the input upwards, with all that lies below them.
            0 freezes nothing but what `layers` names.
        embeddings: bool. With `blocks=0`: freeze what lies below the first block.
        layers: str or None. Regular expression searched in `layer.path`; such layers are frozen too.

    Raises: UserError if there are fewer blocks, or no layer path matches.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, method={"name": "freeze", "blocks": 4})
    Source: Lee et al. 2019, https://arxiv.org/abs/1911.03090.
    """

    def __init__(self, blocks=0, embeddings=True, layers=None):
        if not isinstance(blocks, int) or blocks < 0:
            raise UserError(f"freeze: blocks must be a whole number, 0 or more. Received: blocks={blocks!r}")
        if not (blocks or embeddings or layers):
            raise UserError("freeze: nothing to freeze; use method 'full'. Received: blocks=0, embeddings=False")
        self.blocks = blocks
        self.embeddings = embeddings
        self.layers = layers

    def apply(self, model):
        weights.train_all(model)
        for layer in self._frozen(model):
            layer.trainable = False

    def _frozen(self, model):
        below, blocks = weights.blocks(model.backbone_layers)
        if self.blocks > len(blocks):
            found = ", ".join(blocks) or "none"
            raise UserError(f"freeze: the backbone has {len(blocks)} blocks ({found}). Received: blocks={self.blocks}")
        frozen = list(below) if self.embeddings or self.blocks else []
        for name in list(blocks)[: self.blocks]:
            frozen += blocks[name]
        return frozen + (weights.matching_layers(model, self.layers) if self.layers else [])
