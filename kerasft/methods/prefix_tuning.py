"""Learned keys and values in front of each layer's."""

from typing import ClassVar

from kerasft import deltas
from kerasft.axes import Axes
from kerasft.checks import check_whole
from kerasft.methods.base import Method


class PrefixTuning(Method):
    """Trains keys and values of some positions in front of each text, in every attention layer, and the head.

    Args:
        length: int, 1 or more. Positions in front; they count towards `sequence_length`.

    Raises: UserError for arguments out of range, or for a backbone without attention over tokens.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="prefix_tuning")
    Source: Li & Liang 2021, https://arxiv.org/abs/2101.00190; without reparametrisation as in Liu et al. 2021,
        https://arxiv.org/abs/2110.07602.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-2}
    starts_as_pretrained = False

    def __init__(self, length=20):
        check_whole("prefix_tuning", "length", length)
        self.length = length

    def prepare(self, preprocessor):
        deltas.reserve(preprocessor, self.length, "prefix_tuning")

    def attach(self, model):
        deltas.token_embedding(model, "prefix_tuning")
        for layer in deltas.choose(model, f"{deltas.KEY}|{deltas.VALUE}"):
            deltas.attach(layer, Prefix(self.length))

    def apply(self, model):
        deltas.train_only(model)


class Prefix(deltas.Delta):
    """Puts learned vectors in the place of the first keys or values of each row.

    Args:
        length: int.
    """

    is_by_token = False

    def __init__(self, length):
        super().__init__(name="prefix")
        self.length = length

    def build_for(self, layer):
        _, outputs = Axes(layer).sizes(layer.kernel.shape)
        self.vectors = self.add_weight(name="vectors", shape=(self.length, *outputs), initializer="random_normal")

    def call(self, inputs, outputs):
        return deltas.put_in_front(self.vectors, outputs)
