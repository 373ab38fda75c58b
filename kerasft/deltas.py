"""Small layers beside those of the backbone: what parameter-efficient methods train instead of the backbone."""

import contextlib
import functools
import re
import string

import keras

from kerasft import surgery, weights
from kerasft.errors import UserError

LINEAR = (keras.layers.Dense, keras.layers.EinsumDense)
# How KerasHub's backbones end the paths of their projections.
QUERY = r"(^|/)q(uery)?(_proj|_dense|_dense_layer)?$"
KEY = r"(^|/)k(ey)?(_proj|_dense|_dense_layer)?$"
VALUE = r"(^|/)v(alue)?(_proj|_dense|_dense_layer)?$"
ATTENTION_OUTPUT = r"(^|/)(attention_output|o_proj|o_dense_layer)$|attention/output_dense$"
FEED_FORWARD_OUTPUT = r"(feedforward_output_dense|ffw_linear|mlp_output_dense|down_proj|mlp/dense_2)$|\d/output_dense$"


class Delta(keras.layers.Layer):
    """Changes what one layer of the backbone computes. A subclass overrides `build_for` and `call`.

    Its weights lie beside the layer's own: `<layer.path>/<name>/…`. `call(inputs, outputs)` gets what the layer is
    given and what it returns, and returns what the model shall see instead.

    Attributes:
        place: str. `"output"`; `"linear"`: `outputs` and what `call` returns are those before the layer's activation;
            `"input"`: `call(inputs)` returns what the layer is given instead.
        can_merge: bool. True if `merge` is overridden.
        is_on: bool. False to compute as if it were not there.
    """

    place = "output"
    can_merge = False
    is_on = True

    def build_for(self, layer):
        """Makes the weights that this layer needs."""
        raise NotImplementedError

    def merge(self, layer):
        """Builds the change into the layer's own weights, so that without it the layer computes the same."""
        raise NotImplementedError


def attach(layer, delta):
    """Puts `delta` beside `layer`, from the next call on. Call within the scope of the strategy."""
    delta.dtype_policy = layer.dtype_policy
    with contextlib.ExitStack() as scopes:
        for name in layer.path.split("/"):
            scopes.enter_context(keras.name_scope(name))
        scopes.enter_context(keras.name_scope(delta.name, caller=delta))
        delta.build_for(layer)
    delta.built = True
    surgery.add_sublayer(layer, delta)
    layer.call = functools.partial(_around, layer, layer.call, delta)


def of(model):
    """Returns the pairs `(layer, delta)` of a model."""
    return [(layer, d) for layer in surgery.all_layers(model) for d in surgery.sublayers(layer) if isinstance(d, Delta)]


@contextlib.contextmanager
def merged(model):
    """Has all that can be merged in the backbone's own weights for a while: the same outputs for less work."""
    pairs = [(layer, delta) for layer, delta in of(model) if delta.can_merge]
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


class Axes:
    """The axes of a layer's kernel as letters of an einsum: the layer computes `"{read},{kernel}->{written}"`.

    Attributes:
        kernel: str. inputs: str, the axes that are summed over. outputs: str, the others.
        read, written: str. Of what the layer gets and returns; `read` only where it computes an einsum.
        rest: str. `read` without the inputs.
        free: str. A letter that none of them has.
    """

    def __init__(self, layer):
        if isinstance(layer, keras.layers.EinsumDense):
            self.read, rest = layer.equation.split(",")
            self.kernel, self.written = rest.split("->")
        else:
            variable = layer.embeddings if isinstance(layer, keras.layers.Embedding) else layer.kernel
            self.kernel = string.ascii_lowercase[: len(variable.shape)]
            self.read, self.written = f"...{self.kernel[:-1]}", f"...{self.kernel[-1]}"
        self.inputs = "".join(letter for letter in self.kernel if letter not in self.written)
        self.outputs = "".join(letter for letter in self.kernel if letter in self.written)
        self.rest = "".join(letter for letter in self.read if letter not in self.inputs)
        used = self.read + self.kernel + self.written
        self.free = next(letter for letter in string.ascii_lowercase if letter not in used)

    def sizes(self, shape):
        """Returns the sizes of the inputs and of the outputs of a kernel of this shape, two tuples."""
        sizes = dict(zip(self.kernel, shape, strict=True))
        return tuple(sizes[letter] for letter in self.inputs), tuple(sizes[letter] for letter in self.outputs)


def reserve(preprocessor, length, method):
    """Puts `length` tokens in front of each text, for `put_in_front` to replace. Raises UserError without room."""
    marks = preprocessor.marks
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
    rows, length = keras.ops.shape(outputs)[0], keras.ops.shape(outputs)[1]
    front = keras.ops.cast(vectors, outputs.dtype)[:length]  # A request of no texts has no width.
    front = keras.ops.repeat(front[None], rows, axis=0)
    return keras.ops.concatenate([front, outputs[:, vectors.shape[0] :]], axis=1)


def _around(layer, call, delta, inputs, *args, **kwargs):
    if not delta.is_on:
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
