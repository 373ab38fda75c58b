"""Small layers beside those of the backbone: what parameter-efficient methods train instead of the backbone."""

import contextlib
import functools
import re

import keras

from kerasft import quantization, surgery, weights
from kerasft.errors import UserError

LINEAR = (keras.layers.Dense, keras.layers.EinsumDense)
# How KerasHub's backbones end the paths of their projections.
QUERY = r"(^|/)q(uery)?(_proj(ector)?|_dense|_dense_layer)?$"
KEY = r"(^|/)k(ey)?(_proj(ector)?|_dense|_dense_layer)?$"
VALUE = r"(^|/)v(alue)?(_proj(ector)?|_dense|_dense_layer)?$"
ATTENTION_OUTPUT = r"(^|/)(attention_output|o_proj|o_dense_layer)$|attention/output_(dense|projector)$"
FEED_FORWARD_INPUT = (
    r"(feedforward_intermediate_dense|ffw_gating|mlp_intermediate_dense|up_proj|mlp/dense_1)$"
    r"|\d/(intermediate_dense|input_projector)$"
)
FEED_FORWARD_OUTPUT = (
    r"(feedforward_output_dense|ffw_linear|mlp_output_dense|down_proj|mlp/dense_2)$|\d/output_(dense|projector)$"
)


class Delta(keras.layers.Layer):
    """Changes what one layer of the backbone computes. A subclass overrides `build_for` and `call`.

    Its weights lie beside the layer's own: `<layer.path>/<name>/…`. `call(inputs, outputs)` gets what the layer is
    given and what it returns, and returns what the model shall see instead. A weight that multiplies is marked with
    `weight.decays = False`: weight decay would draw it to zero.

    Attributes:
        place: str. `"output"`; `"linear"`: `outputs` and what `call` returns are those before the layer's activation;
            `"input"`: `call(inputs)` returns what the layer is given instead.
        can_merge: bool. True if `merge` is overridden.
        is_by_token: bool. False if it does not treat all tokens of a row alike.
        is_on: bool. False to compute as if it were not there.
    """

    place = "output"
    can_merge = False
    is_by_token = True
    is_on = True

    def build_for(self, layer):
        """Makes the weights that this layer needs."""
        raise NotImplementedError

    def merge(self, layer):
        """Builds the change into the layer's own weights, so that without it the layer computes the same."""
        raise NotImplementedError


def attach(layer, delta):
    """Puts `delta` beside `layer`, from the next call on. Call within the scope of the strategy.

    Raises: UserError if the layer has one of this name.
    """
    if any(isinstance(other, Delta) and other.name == delta.name for other in surgery.sublayers(layer)):
        raise UserError(f"A layer takes a {delta.name} once. Received: a second one for {layer.path}")
    delta.dtype_policy = layer.dtype_policy
    with weights.beside(layer, delta):
        delta.build_for(layer)
    delta.built = True
    put_on(layer, delta)


def put_on(layer, delta):
    """Has `layer` call a delta that was made for it. Calls that are traced already go on without."""
    surgery.add_sublayer(layer, delta)
    layer.call = functools.partial(_around, layer, layer.call, delta)


def take_off(model):
    """Makes the backbone as it was before `attach`. Returns the pairs `(layer, delta)` for `put_on`, in order."""
    pairs = of(model)
    for layer, delta in reversed(pairs):
        surgery.remove_sublayer(layer, delta)
        _, layer.call, _ = layer.call.args
    return pairs


def of(model):
    """Returns the pairs `(layer, delta)` of a model."""
    return [(layer, d) for layer in surgery.all_layers(model) for d in surgery.sublayers(layer) if isinstance(d, Delta)]


@contextlib.contextmanager
def merged(model):
    """Has all that can be merged in the backbone's own weights for a while: the same outputs for less work."""
    with quantization.dequantized(model):
        pairs = [(layer, delta) for layer, delta in of(model) if delta.can_merge and delta.is_on]
        before = [(variable, variable.numpy()) for layer, _ in pairs for variable in layer.weights]
        model.predict_function = model.test_function = None  # They were traced without.
        try:
            for layer, delta in pairs:
                delta.merge(layer)
                delta.is_on = False
            yield
        finally:
            for variable, value in before:
                variable.assign(value)
            for _, delta in pairs:
                delta.is_on = True
            model.predict_function = model.test_function = None


@contextlib.contextmanager
def switched_off(model):
    """Has the model compute as if it had no deltas for a while: the pretrained backbone under the head as it is."""
    switch(model, is_on=False)
    try:
        yield
    finally:
        switch(model, is_on=True)


def switch(model, is_on):
    """Switches all deltas of a model on or off."""
    for _, delta in of(model):
        delta.is_on = is_on
    model.predict_function = model.test_function = None  # They were traced the other way.


def train_only(model):
    """Freezes all of a model but its deltas and its head, the statistics of BatchNorm included."""
    weights.train_only(model, [variable for _, delta in of(model) for variable in delta.weights])


def find(model, pattern, kinds=LINEAR):
    """Returns the layers of the backbone that are one of `kinds` and whose path a regular expression is found in."""
    found = (layer for layer in weights.layers_below_head(model) if isinstance(layer, kinds) and layer.weights)
    return [layer for layer in found if re.search(pattern, layer.path)]


def choose(model, pattern, kinds=LINEAR):
    """Returns what `find` does, for a pattern of the user's.

    Raises: UserError if it finds no layer, the head's or one of another kind.
    """
    found, able = weights.matching_layers(model, pattern), find(model, pattern, kinds)
    wrong = [layer for layer in found if layer not in able]
    if wrong:
        names = ", ".join(kind.__name__ for kind in kinds)
        shown = ", ".join(f"{layer.path} ({type(layer).__name__})" for layer in wrong[:5])
        raise UserError(
            f"layers must match layers of the backbone of these kinds: {names}. "
            f"Received: layers={pattern!r}, which matches {shown}"
        )
    return found


def reserve(preprocessor, length, method):
    """Puts `length` tokens in front of each text, for `put_in_front` to replace.

    Raises: UserError without room, or for an encoder with a decoder, which share the embeddings of their tokens.
    """
    marks = preprocessor.marks
    if "decoder_token_ids" in preprocessor.inputs:
        raise UserError(f"{method} needs an encoder or a decoder alone. Received: method={method!r}, and both")
    if length + sum(map(len, marks.values())) >= preprocessor.sequence_length:
        raise UserError(
            f"{method}: no room for the text is left. Received: length={length}, "
            f"sequence_length={preprocessor.sequence_length}"
        )
    marks["start"] = [preprocessor.pad_id] * length + marks["start"]


def token_embedding(model, method):
    """Returns the layer that embeds the tokens of a text. Raises UserError if there is none."""
    found = find(model, r"(^|/)token_embedding$", (keras.layers.Embedding,))
    if not found:
        raise UserError(f"{method} needs a backbone that embeds tokens. Received: method={method!r}")
    return found[0]


def put_in_front(vectors, outputs):
    """Returns `outputs`, `(batch, length, …)`, with `vectors`, `(places, …)`, in the first places of each row."""
    if outputs.shape[1] == 1:  # The next token, while text is generated: those in front are in a cache.
        return outputs
    rows, length = keras.ops.shape(outputs)[0], keras.ops.shape(outputs)[1]
    front = keras.ops.cast(vectors, outputs.dtype)[:length]  # A request of no texts has no width.
    front = keras.ops.repeat(front[None], rows, axis=0)
    return keras.ops.concatenate([front, outputs[:, vectors.shape[0] :]], axis=1)


def _around(layer, call, delta, inputs, *args, **kwargs):
    if not delta.is_on or kwargs.get("reverse"):  # An embedding that is read the other way makes logits.
        return call(inputs, *args, **kwargs)
    if delta.place == "input":
        return call(delta(inputs), *args, **kwargs)
    activation = getattr(layer, "activation", None) if delta.place == "linear" else None
    if activation is None:
        return delta(inputs, call(inputs, *args, **kwargs))
    layer.activation = None
    try:
        outputs = delta(inputs, call(inputs, *args, **kwargs))
    finally:
        layer.activation = activation
    return activation(outputs)
