"""Small bottlenecks behind the projections of each block, or beside its feed-forward network."""

from typing import ClassVar

import keras

from kerasft import deltas
from kerasft.axes import Axes
from kerasft.checks import check, check_name, check_whole
from kerasft.errors import UserError
from kerasft.methods.base import Method

LAYERS = {
    "houlsby": f"{deltas.ATTENTION_OUTPUT}|{deltas.FEED_FORWARD_OUTPUT}",
    "pfeiffer": deltas.FEED_FORWARD_OUTPUT,
    "parallel": deltas.FEED_FORWARD_OUTPUT,
}
ACTIVATIONS = {"houlsby": "gelu", "pfeiffer": "gelu", "parallel": "relu"}
SCALES = {"houlsby": 1.0, "pfeiffer": 1.0, "parallel": 4.0}


class Adapter(Method):
    """Trains bottlenecks `scale * up(activation(down(x)))`, which are added to outputs of the backbone, and the head.

    Args:
        width: int, 1 or more. Of the bottleneck.
        kind: str. `"houlsby"`: behind attention and feed-forward; `"pfeiffer"`: behind feed-forward alone, half the
            weights and nearly as good; `"parallel"`: beside the feed-forward network, whose input it reads and to whose
            output it is added: better than behind it at the same width.
        activation: str or None. A name in `keras.activations`; None is relu for `"parallel"`, as in the paper, else
            gelu.
        layers: str or None. Regular expression searched in `layer.path` of Dense and EinsumDense layers; instead of
            those that `kind` names. With `"parallel"`, of the last layers of feed-forward networks.
        scale: float or None. None is 4 for `"parallel"`, as in the paper, else 1.

    Raises: UserError for arguments out of range, or if no layer path matches.
    Example: >>> kerasft.FineTuner(task="text_classification", backbone=…, method={"name": "adapter", "width": 64})
    Source: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751; Pfeiffer et al. 2020,
        https://arxiv.org/abs/2005.00247; parallel: He et al. 2022, https://arxiv.org/abs/2110.04366, section 4.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-3, "image": 2e-3}

    def __init__(self, width=32, kind="houlsby", activation=None, layers=None, scale=None):
        check_whole("adapter", "width", width)
        check_name("adapter", "kind", kind, LAYERS)
        if activation is not None and not (isinstance(activation, str) and hasattr(keras.activations, activation)):
            raise UserError(f"adapter: activation must be a name in keras.activations. Received: {activation!r}")
        if scale is not None:
            check("adapter", "scale", scale, 0, low_is_allowed=False)
        self.width = width
        self.kind = kind
        self.activation = activation
        self.layers = layers
        self.scale = scale

    def attach(self, model):
        for layer in deltas.choose(model, self.layers or LAYERS[self.kind]):
            source = None
            if self.kind == "parallel":
                source = Input()
                deltas.attach(_first_of_feed_forward(model, layer), source)
            deltas.attach(layer, self._bottleneck(source))

    def apply(self, model):
        deltas.train_only(model)

    def _bottleneck(self, source):
        activation, scale = self.activation or ACTIVATIONS[self.kind], self.scale or SCALES[self.kind]
        return Bottleneck(self.width, activation, scale, source)


class Bottleneck(deltas.Delta):
    """Adds `scale * up(activation(down(x)))` to a layer's outputs; `up` begins at zero.

    Args:
        width: int. activation: str. scale: float.
        source: Input or None. Where `x` comes from; None takes the layer's own outputs.
    """

    def __init__(self, width, activation, scale=1.0, source=None):
        super().__init__(name="adapter")
        self.down = keras.layers.Dense(width, activation=activation, name="down")
        self.width = width
        self.scale = scale
        # A method of it, not itself, which Keras would take for a part of this layer.
        self.read = None if source is None else source.take
        self.read_size = None if source is None else source.size

    def build_for(self, layer):
        _, outputs = Axes(layer).sizes(layer.kernel.shape)
        if len(outputs) > 1:
            raise UserError(f"adapter: only layers with outputs of one axis can have it. Received: {layer.path}")
        self.up = keras.layers.Dense(*outputs, kernel_initializer="zeros", name="up")
        self.down.build((None, self.read_size or outputs[0]))
        self.up.build((None, self.width))

    def call(self, inputs, outputs):
        x = self.read() if self.read else outputs
        return outputs + self.scale * self.up(self.down(x))


class Input(deltas.Delta):
    """Keeps what the first layer of a feed-forward network is given until the bottleneck beside it takes it."""

    place = "input"

    def __init__(self):
        super().__init__(name="adapter_input")
        self.given = None

    def build_for(self, layer):
        (self.size,), _ = Axes(layer).sizes(layer.kernel.shape)

    def call(self, inputs):
        self.given = inputs
        return inputs

    def take(self):
        """Returns the inputs of this pass, which are kept no longer: a traced one would keep its whole graph."""
        given, self.given = self.given, None
        return given


def _first_of_feed_forward(model, last):
    """Returns the first layer of the feed-forward network that ends with `last`.

    By their order: some of KerasHub's backbones, such as SmolLM3, have layers of one path in several blocks.
    """
    begins, ends = deltas.find(model, deltas.FEED_FORWARD_INPUT), deltas.find(model, deltas.FEED_FORWARD_OUTPUT)
    if last not in ends or len(begins) != len(ends):
        raise UserError(f"adapter: no feed-forward network that ends there is known. Received: {last.path}")
    return begins[ends.index(last)]
