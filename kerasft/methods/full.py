"""Everything learns."""

from kerasft.methods.base import Method


class Full(Method):
    """Trains every weight of backbone and head.

    The strongest choice where there are a few thousand examples and the memory for it: the optimizer keeps two
    more numbers for each weight.

    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="full")
    Source: Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, section 4 ("full").
    """

    def apply(self, model):
        for layer in model.layers:
            layer.trainable = True
