"""Choose, count, save and load weights by path."""

import collections
import contextlib
import hashlib
import random
import re

import keras
import numpy as np
import tensorflow as tf

from kerasft import files, surgery
from kerasft.errors import UserError
from kerasft.inspection import safetensors_file

_BLOCK = re.compile(r"^(?P<name>.*?\d+[a-z]?(?:_block_?\d+|_unit_?\d+)?)(?:_|$)")


def unnested(layers):
    """Returns these layers, but of one that holds a stack of blocks, such as KerasHub's `ViTEncoder`, its parts."""
    found = []
    for layer in layers:
        parts = [part for part in surgery.sublayers(layer) if part.weights]
        numbered = [part for part in parts if surgery.sublayers(part) and _BLOCK.match(part.name)]
        found += parts if len(numbered) > 1 else [layer]
    return found


def blocks(layers):
    """Groups a backbone's layers into its repeated blocks, from the input upwards.

    A block is a run of layers whose names begin with the same word and number (`transformer_layer_3`,
    `block2b_expand_conv`, `conv3_block1_1_conv`).

    Returns: pair of the list of layers below the first block, and a dict of block name to list of layers.
    """
    below, found = [], {}
    for layer in layers:
        match = _BLOCK.match(layer.name)
        if match and not _is_stem(layer.name):
            found.setdefault(match["name"], []).append(layer)
        elif not found:
            below.append(layer)
    return below, found


def groups(model):
    """Returns lists of the backbone's layers: one for each block, from the top downwards, then what lies below.

    What follows the last block belongs to it.

    Raises: UserError if the backbone has no blocks.
    """
    below, found = blocks(model.backbone_layers)
    if not found:
        raise UserError(
            "The backbone has no blocks that could be told apart by their names. Received: a backbone of one"
        )
    made = [list(layers) for layers in reversed(found.values())]
    known = {id(layer) for layers in (below, *made) for layer in layers}
    made[0] += [layer for layer in model.backbone_layers if id(layer) not in known]
    return made + [below] if below else made


def decayed_by_group(model, decay):
    """Returns `{path: decay ** n}` of the backbone's weights in the n-th of `groups`, counted from 1, as `by_path`."""
    found, paths = enumerate(groups(model), start=1), {id(variable): path for path, variable in by_path(model).items()}
    numbers = {id(weight): number for number, layers in found for layer in layers for weight in layer.weights}
    return {paths[key]: decay**number for key, number in numbers.items()}


def layers_below_head(model):
    """Returns every layer of the backbone, nested ones too."""
    head = {id(layer) for layer in (model.head, *surgery.all_layers(model.head))}
    return [layer for layer in surgery.all_layers(model) if id(layer) not in head]


@contextlib.contextmanager
def beside(layer, part):
    """Gives weights that are made meanwhile paths beside the layer's own: `<layer.path>/<part.name>/…`."""
    with contextlib.ExitStack() as scopes:
        for name in layer.path.split("/"):
            scopes.enter_context(keras.name_scope(name))
        scopes.enter_context(keras.name_scope(part.name, caller=part))
        yield


def compiled(pattern, argument):
    """Returns the regular expression `pattern`. Raises UserError, with the argument's name, if it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"{argument} is not a regular expression ({error}). Received: {argument}={pattern!r}"
        ) from error


def matching_layers(model, pattern):
    """Returns the layers that hold weights and whose `path` the regular expression `pattern` is found in.

    Raises: UserError if the pattern is no regular expression or finds no layer; shows five paths.
    """
    expression = compiled(pattern, "layers")
    layers = [layer for layer in surgery.all_layers(model) if layer.weights and layer.path]
    found = [layer for layer in layers if expression.search(layer.path)]
    if not found:
        paths = ", ".join(sorted({layer.path for layer in layers})[:5])
        raise UserError(f"No layer path matches. Paths look like: {paths}. Received: layers={pattern!r}")
    return found


def count(variables):
    """Returns the number of single weights in these variables."""
    return int(sum(np.prod(variable.shape, dtype="int64") for variable in variables))


def is_of_normalization(name):
    """Returns whether a weight of this name scales or shifts what a layer normalises; T5's scale is `weight`."""
    return name in ("gamma", "beta", "scale", "weight")


def by_path(model):
    """Returns `{path: variable}` of all weights. A path that occurs again gets a number.

    Some of KerasHub's backbones, such as SmolLM3, have weights of one path in several layers.
    """
    found, times = {}, collections.Counter()
    for variable in model.weights:
        times[variable.path] += 1
        number = f"#{times[variable.path]}" if times[variable.path] > 1 else ""
        found[variable.path + number] = variable
    return found


def learned(model):
    """Returns `{path: variable}` of all that training moves: trainable weights, and statistics of trainable layers."""
    moved = {id(variable) for variable in model.trainable_variables}
    for layer in surgery.all_layers(model):
        if layer.trainable and not surgery.sublayers(layer):
            moved |= {id(variable) for variable in layer.non_trainable_variables if _is_statistic(variable)}
    return {path: variable for path, variable in by_path(model).items() if id(variable) in moved}


def train_all(model):
    """Makes every weight learn, whatever was chosen before."""
    for layer in model.layers:
        layer.trainable = False  # Setting what is set already does nothing, not to single weights either.
        layer.trainable = True


def train_only(model, variables):
    """Makes the head and these weights of the backbone learn, and no others.

    A layer without one of them is frozen as a whole, so that the statistics of BatchNorm stand still.
    """
    chosen = {id(variable) for variable in (*variables, *model.head.weights)}
    train_all(model)
    for layer in layers_below_head(model):
        if not any(id(variable) in chosen for variable in layer.weights):
            layer.trainable = False
    for variable in model.trainable_weights:
        variable.trainable = id(variable) in chosen


def reinitialize(layers):
    """Gives these layers, and those in them, new weights of their own initializers, seeded by Python's `random`.

    Raises: UserError for a layer that does not say how it was made, such as Gemma's normalisation.
    """
    for outer in layers:
        for layer in (outer, *surgery.all_layers(outer)):
            within = {id(variable) for part in surgery.sublayers(layer) for variable in part.weights}
            own = [variable for variable in layer.weights if id(variable) not in within]
            for variable, new in zip(own, _new_weights(layer) if own else (), strict=True):
                variable.assign(new)


@contextlib.contextmanager
def seeded(seed):
    """Seeds Python's `random`, of which Keras's initializers draw their seeds, for a while.

    `keras.utils.set_random_seed` would also clear TensorFlow's caches, and take SentencePiece tokenizers with them.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _new_weights(layer):
    try:
        config = layer.get_config()
        if "activation" in config:
            config["activation"] = None  # It may be one that Keras does not know by name.
        fresh = type(layer).from_config(config)
        fresh.build_from_config(layer.get_build_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UserError(f"New weights of this layer cannot be made. Received: {layer.path}") from error
    if [weight.shape for weight in fresh.weights] != [weight.shape for weight in layer.weights]:
        raise UserError(f"New weights of this layer have other shapes. Received: {layer.path}")
    return fresh.weights


def trainable_table(model):
    """Returns rows `(part, weights, trainable weights)` for embeddings, each block, what follows, and the head."""
    below, found = blocks(model.backbone_layers)
    named = {layer.name for group in (below, *found.values()) for layer in group}
    parts = {"embeddings / stem": below, **found}
    parts["final layers"] = [layer for layer in model.backbone_layers if layer.name not in named]
    parts["head"] = [model.head]
    rows = []
    for name, layers in parts.items():
        total = count([v for layer in layers for v in layer.weights])
        if total:
            rows.append((name, total, count([v for layer in layers for v in layer.weights if v.trainable])))
    return rows


def save(filepath, variables, metadata=None):
    """Writes `{path: variable}` to a safetensors file, whole or not at all."""
    from safetensors.numpy import save_file

    arrays = {path: view(variable) for path, variable in variables.items()}
    with files.replaced(filepath) as partial:
        save_file(arrays, partial, metadata=metadata)


def view(variable):
    """Returns a variable's values as an array in the same memory: `variable.numpy()` would copy them."""
    return np.asarray(memoryview(tf.convert_to_tensor(variable)))


def load(filepath, variables):
    """Assigns the arrays of a safetensors file to `{path: variable}`.

    Raises: UserError unless paths and shapes are the same on both sides; names the first that differ.
    """
    from safetensors.numpy import load_file

    shapes = safetensors_file.shapes(filepath)
    differing = sorted(set(shapes) ^ set(variables))
    differing += [path for path in set(shapes) & set(variables) if shapes[path] != tuple(variables[path].shape)]
    if differing:
        raise UserError(
            f"{filepath} does not hold the weights of this model: {len(differing)} differ. Received: {differing[:5]}"
        )
    arrays = load_file(filepath)
    for path, variable in variables.items():
        variable.assign(arrays[path])


def paths(filepath):
    """Returns the weight paths in a safetensors file."""
    return set(safetensors_file.shapes(filepath))


def fingerprint(variables):
    """Returns the SHA-256 of these variables' values, in order: the identity of a base that a delta belongs to."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(view(variable))
    return digest.hexdigest()


def _is_stem(name):
    return name.startswith(("stem", "conv1", "Conv1", "block1_conv", "bn1", "entry"))


def _is_statistic(variable):
    return variable.name.startswith("moving_")
