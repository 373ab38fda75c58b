"""Keys, values and feed-forward activations are multiplied by learned vectors."""

from typing import ClassVar

from kerasft import deltas
from kerasft.axes import Axes, scaled
from kerasft.methods.base import Method


class IA3(Method):
    """Trains a factor for each key, value and feed-forward activation, and the head.

    Very few weights, and no cost in an export, whose kernels have the factors in them.

    Args:
        outputs: str. Regular expression searched in `layer.path` of Dense and EinsumDense layers, whose outputs are
            multiplied.
        inputs: str. The same, of layers whose inputs are multiplied.

    Raises: UserError if one of the expressions finds no layer.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method="ia3")
    Source: Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3.
    """

    learning_rate: ClassVar[dict] = {"text": 5e-3, "image": 5e-3}

    def __init__(self, outputs=f"{deltas.KEY}|{deltas.VALUE}", inputs=deltas.FEED_FORWARD_OUTPUT):
        self.outputs = outputs
        self.inputs = inputs

    def attach(self, model):
        for layer in deltas.choose(model, self.outputs):
            deltas.attach(layer, Scale("linear"))
        for layer in deltas.choose(model, self.inputs):
            deltas.attach(layer, Scale("input"))

    def apply(self, model):
        deltas.train_only(model)


class Scale(deltas.Delta):
    """Multiplies each output of a layer's kernel and bias, or each input, by a factor; the factors begin at one.

    Args:
        place: str. `"linear"` for the outputs, `"input"` for the inputs.
    """

    can_merge = True

    def __init__(self, place):
        super().__init__(name="ia3")
        self.place = place

    def build_for(self, layer):
        axes = Axes(layer)
        inputs, outputs = axes.sizes(layer.kernel.shape)
        shape, letters, scaled_axes = inputs, axes.inputs, axes.read
        if self.place == "linear":
            shape, letters, scaled_axes = outputs, axes.outputs, axes.written
        self.factor = self.add_weight(name="factor", shape=shape, initializer="ones")
        self.factor.decays = False
        self.axes, self.kernel_axes, self.letters = scaled_axes, axes.kernel, letters

    def call(self, inputs, outputs=None):
        values = inputs if self.place == "input" else outputs
        return scaled(values, self.factor, self.axes, self.letters)

    def merge(self, layer):
        layer.kernel.assign(scaled(layer.kernel, self.factor, self.kernel_axes, self.letters))
        if self.place == "linear" and layer.bias is not None:
            layer.bias.assign(layer.bias * self.factor)
