"""Small bottlenecks behind the projections of each block."""

from typing import ClassVar

import keras

from kerasft import deltas
from kerasft.errors import UserError
from kerasft.methods.base import Method

LAYERS = {"houlsby": f"{deltas.ATTENTION_OUTPUT}|{deltas.FEED_FORWARD_OUTPUT}", "pfeiffer": deltas.FEED_FORWARD_OUTPUT}


class Adapter(Method):
    """Trains a bottleneck `x + up(activation(down(x)))` behind chosen projections, and the head.

    Args:
        width: int, 1 or more. Of the bottleneck.
        kind: str. `"houlsby"`: behind attention and feed-forward; `"pfeiffer"`: behind feed-forward alone, half the
            weights and nearly as good.
        activation: str. A name in `keras.activations`.
        layers: str or None. Regular expression searched in `layer.path` of Dense and EinsumDense layers; instead of
            those that `kind` names.

    Raises: UserError for arguments out of range, or if no layer path matches.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method={"name": "adapter", "width": 64})
    Source: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751; Pfeiffer et al. 2020,
        https://arxiv.org/abs/2005.00247.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-3, "image": 2e-3}

    def __init__(self, width=32, kind="houlsby", activation="gelu", layers=None):
        if not isinstance(width, int) or width < 1:
            raise UserError(f"adapter: width must be a whole number, 1 or more. Received: width={width!r}")
        if kind not in LAYERS:
            raise UserError(f"adapter: kind must be one of {', '.join(LAYERS)}. Received: kind={kind!r}")
        if not isinstance(activation, str) or not hasattr(keras.activations, activation):
            raise UserError(f"adapter: activation must be a name in keras.activations. Received: {activation!r}")
        self.width = width
        self.kind = kind
        self.activation = activation
        self.layers = layers

    def attach(self, model):
        for layer in deltas.choose(model, self.layers or LAYERS[self.kind]):
            deltas.attach(layer, Bottleneck(self.width, self.activation))

    def apply(self, model):
        deltas.train_only(model)


class Bottleneck(deltas.Delta):
    """Adds `up(activation(down(outputs)))` to a layer's outputs; `up` begins at zero.

    Args:
        width: int. activation: str.
    """

    def __init__(self, width, activation):
        super().__init__(name="adapter")
        self.down = keras.layers.Dense(width, activation=activation, name="down")
        self.width = width

    def build_for(self, layer):
        _, outputs = deltas.Axes(layer).sizes(layer.kernel.shape)
        if len(outputs) > 1:
            raise UserError(f"adapter: only layers with outputs of one axis can have it. Received: {layer.path}")
        self.up = keras.layers.Dense(*outputs, kernel_initializer="zeros", name="up")
        self.down.build((None, *outputs))
        self.up.build((None, self.width))

    def call(self, inputs, outputs):
        return outputs + self.up(self.down(outputs))
