"""Low-rank updates beside kernels that are kept in 4 or 8 bits."""

from kerasft import deltas, quantization
from kerasft.errors import UserError
from kerasft.methods.lora import LoRA


class QLoRA(LoRA):
    """Trains a low-rank update of quantized kernels, and the head; everything else stays frozen.

    All Dense and EinsumDense kernels of the backbone are kept in 4 or 8 bits: an eighth or a quarter of the memory, and
    the backbone's answers change a little. The updates learn in float32 around that error. Each step takes longer, for
    it makes the kernels anew. An export has kernels in float32 with the updates in them and answers as the model does.

    Args:
        rank: int, 1 or more. Inner width of the update.
        alpha: float above 0, or None for `2 * rank`. The update is multiplied by `alpha / rank`.
        dropout: float from 0 to 1. Of what the update reads, while training.
        layers: str or None. Regular expression searched in `layer.path` of Dense and EinsumDense layers, which get an
            update; None takes all of them, as the paper does.
        bits: int. 4 (NormalFloat) or 8.

    Raises: UserError for arguments out of range, if no layer path matches `layers`, or without a layer of these kinds.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method={"name": "qlora", "bits": 4})
    Source: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, section 3.
    """

    starts_as_pretrained = False
    shares_base = False

    def __init__(self, rank=8, alpha=None, dropout=0.0, layers=None, bits=4):
        super().__init__(rank, alpha, dropout, layers)
        if bits not in (4, 8):
            raise UserError(f"qlora: bits must be 4 or 8. Received: bits={bits!r}")
        self.bits = bits

    def attach(self, model):
        for layer in quantization.layers(model):
            quantization.quantize(layer, self.bits)
        with quantization.dequantized(model):
            super().attach(model)

    def _targets(self, model):
        if self.layers is not None:
            return deltas.choose(model, self.layers)
        found = quantization.layers(model)
        if not found:
            raise UserError("qlora: the backbone has no Dense or EinsumDense layers. Received: layers=None")
        return found
