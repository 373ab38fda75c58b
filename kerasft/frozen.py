"""The lower part of a model, where nothing learns: it computes the same for an example in every epoch."""

import itertools
from typing import Any

import keras
import tensorflow as tf

from kerasft import surgery, weights

FEATURES = "features"  # Of a batch: what the frozen part makes of it.
_IMAGE = "image"  # Stands for the input of a model that has but one.


def of(model):
    """Returns the `Frozen` part of a `FineTunedModel`, or None if not even one block of the backbone is frozen."""
    learned = {id(variable) for variable in weights.learned(model).values()}
    operations = itertools.takewhile(
        lambda operation: not any(id(variable) in learned for variable in getattr(operation, "weights", ())),
        model.operations,
    )
    below = list(operations)
    if model.head in below:  # Nothing learns, which `fit` refuses.
        return None
    _, blocks = weights.blocks(model.backbone_layers)
    if model.head is model.operations[len(below)] and hasattr(model.head, "pool"):
        last = model.head
    elif _whole(blocks, below):
        last = next((layer for layer in reversed(surgery.bottlenecks(model)) if layer in below), None)
        below = below[: below.index(last) + 1] if last else []
    else:
        return None
    whole = _whole(blocks, below)
    return Frozen(model, last, whole, len(blocks)) if whole or (last is model.head and not blocks) else None


def _whole(blocks, operations):
    """Returns how many blocks have all their layers among these operations."""
    known = {id(layer) for layer in weights.unnested(o for o in operations if isinstance(o, keras.layers.Layer))}
    return sum(all(id(layer) in known for layer in layers) for layers in blocks.values())


class Frozen:
    """All that a model computes up to a layer below which nothing learns. It runs in inference mode, without dropout.

    Args:
        model: FineTunedModel.
        last: keras.layers.Layer. The last that is frozen; the model's head stands for all below it and its pooling.
        blocks: int. Frozen blocks of the backbone. of_blocks: int. All there are.
    """

    def __init__(self, model, last, blocks, of_blocks):
        self.blocks = blocks
        self.of_blocks = of_blocks
        self.last = last
        self.head = model.head if last is model.head else None
        inputs = model.input if isinstance(model.input, dict) else {_IMAGE: model.input}
        self._lower = surgery.Part(model, inputs, surgery.read_by(last) if self.head else last.output)
        self._upper: Any = None
        if not self.head:
            self._upper = surgery.Part(model, {**inputs, FEATURES: last.output}, model.output)

    @property
    def reads(self):
        """Names of the inputs that the upper part reads beside the features."""
        return [name for name in self._upper.reads if name != FEATURES] if self._upper else []

    @property
    def variables(self):
        """All weights that the features depend on."""
        return [variable for layer in self._lower.layers for variable in layer.weights]

    def inputs(self, x):
        """Returns what the upper part reads: features of the model's inputs, and some of these inputs themselves.

        Where all but the head is frozen the features are pooled, `(rows, width)` float32.
        """
        given = _named(x)
        made = self._lower(given, training=False)
        if self.head:
            wide = {name: tf.cast(v, "float32") if v.dtype.is_floating else v for name, v in made.items()}
            made = self.head.pool(wide)
        return {FEATURES: made, **{name: given[name] for name in self.reads}}

    def __call__(self, x, training):
        """Returns the model's outputs for its inputs, or for what `inputs` made of them."""
        if not is_computed(x):
            x = self.inputs(x)
        if self.head:
            return self.head(x[FEATURES], training=training)
        return self._upper(x, training=training)


def is_computed(x):
    """Returns True if these inputs hold features in the place of what they were made of."""
    return isinstance(x, dict) and FEATURES in x


def _named(x):
    return x if isinstance(x, dict) else {_IMAGE: x}
