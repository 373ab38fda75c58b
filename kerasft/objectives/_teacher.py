"""A trained model as a teacher: its logits, its hidden states and its attention."""

import contextlib
import hashlib
import math
import os
import zipfile

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft import cache, deltas, weights
from kerasft.errors import UserError
from kerasft.taps import tap

ROWS = 128  # On so many examples both sides' inputs are compared.


def load(directory, tuner):
    """Returns the FineTuner of a saved run. Raises UserError if it has other labels than the student's, `tuner`."""
    teacher = tuner.load(directory)
    if teacher.task.labels != tuner.task.labels:
        raise UserError(
            f"distillation: the teacher has other labels: {teacher.task.labels}, here {tuner.task.labels}. "
            f"Received: teacher={directory!r}"
        )
    return teacher


def check_inputs(teacher, tuner, frame):
    """Raises UserError unless the teacher's model can read what the student's does."""
    ours, theirs = _inputs(tuner, frame.head(ROWS)), _inputs(teacher, frame.head(ROWS))
    if len(ours) != len(theirs) or not all(map(np.array_equal, ours, theirs)):
        raise UserError(
            "distillation: hidden states and attention need a teacher that reads the same tokens or pixels. "
            f"Received: teacher={teacher.directory!r}"
        )


def _inputs(tuner, frame):
    examples = tuner.task.examples(frame, tuner.preprocessor, with_targets=False)
    width = None if examples.lengths is None else examples.lengths.max()
    return tf.nest.flatten(examples.finish(examples.gather(np.arange(len(examples)), width)))


def logits(teacher, frame):
    """Returns the teacher's logits for the rows of a frame, from disk if they were computed before."""
    manifest = os.path.join(teacher.directory, "manifest.json")
    with open(manifest, "rb") as file:
        digest = hashlib.sha256(file.read())
    if teacher.task.modality == "image":  # Files may have changed under their names.
        digest.update(teacher.task.examples(frame, teacher.preprocessor, with_targets=False).digest().encode())
    else:
        columns = frame[[name for name in teacher.task.inputs if name in frame]]
        digest.update(pd.util.hash_pandas_object(columns.map(_hashable), index=False).to_numpy().tobytes())
    path = os.path.join(cache.folder(), "teachers", f"{digest.hexdigest()[:32]}.npy")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = f"{path}.{os.getpid()}.npy"
        np.save(partial, teacher.outputs(frame))
        os.replace(partial, path)
    return np.load(path)


def read_logits(path):
    """Returns the array in a `.npy` file. Raises UserError if it cannot be read, or holds anything but numbers."""
    try:
        # Mapped: a header that claims more than the file holds is an error, and not memory.
        found = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError, zipfile.BadZipFile) as error:
        raise UserError(f"distillation: the logits cannot be read ({error}). Received: teacher={path!r}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise UserError(f"distillation: the file must hold one array of numbers. Received: teacher={path!r}")
    return found


def check_shape(found, shape, teacher):
    """Raises UserError unless there is a finite logit for each example and class."""
    if found.shape != shape or not np.isfinite(found).all():
        raise UserError(
            f"distillation: the teacher must give finite logits of the shape {shape}, training examples and classes. "
            f"Received: {found.shape} of teacher={teacher!r}"
        )


class HiddenStates:
    """Compares the outputs of the blocks of two models.

    Args:
        teacher, model: FineTunedModel.

    Raises: UserError if one has no blocks of one layer each.
    """

    def __init__(self, teacher, model):
        theirs, ours = _blocks(teacher), _blocks(model)
        self.theirs = [tap(layer) for layer in _spread(theirs, len(ours))]
        self.ours = [tap(layer) for layer in ours]
        width, wanted = _width(ours[-1]), _width(theirs[-1])
        self.projection = None
        if width != wanted:
            self.projection = model.beside("distillation", lambda: _projection(width, wanted))

    def apart(self, x, ours, theirs):
        """Returns the mean squared difference of each row, `(rows,)`, of what the taps of either side read."""
        mask = _mask(x, ours[0])
        total = 0.0
        for mine, taught in zip(ours, theirs, strict=True):
            mine = tf.cast(mine, "float32")
            difference = (self.projection(mine) if self.projection else mine) - tf.cast(taught, "float32")
            total += _mean(tf.reduce_mean(tf.square(difference), -1), mask)
        return total / len(ours)


class AttentionMaps:
    """Compares where the blocks of two models attend to, the mean over heads.

    Args:
        teacher, model: FineTunedModel of encoders.

    Raises: UserError if one has no projections of queries and keys.
    """

    def __init__(self, teacher, model):
        ours = _projections(model)
        self.theirs = [tap(layer) for pair in _spread(_projections(teacher), len(ours)) for layer in pair]
        self.ours = [tap(layer) for pair in ours for layer in pair]

    def apart(self, x, ours, theirs):
        """Returns the mean squared difference of each row, `(rows,)`, of what the taps of either side read."""
        mask = _mask(x, ours[0])
        maps = zip(_maps(ours, mask), _maps(theirs, mask), strict=True)
        squares = [tf.reduce_sum(tf.square(one - two), -1) for one, two in maps]
        return sum(_mean(square, mask) for square in squares) / len(squares)


@contextlib.contextmanager
def reading(taps):
    """Gives a function that returns what each of these taps read first meanwhile."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(one.reading()) for one in taps]
        yield lambda: [first for first, *_ in found]


def _maps(read, mask):
    """Returns `(rows, places, places)` for each pair of queries and keys, `(rows, places, heads, width)`."""
    found = []
    for query, key in zip(read[::2], read[1::2], strict=True):
        scores = tf.einsum("bqhd,bkhd->bhqk", tf.cast(query, "float32"), tf.cast(key, "float32"))
        hidden = -1e9 * (1 - mask[:, None, None, :])
        found.append(tf.reduce_mean(tf.nn.softmax(scores / math.sqrt(query.shape[-1]) + hidden), 1))
    return found


def _mask(x, like):
    """Returns `(rows, places)` float32: 1 where there is no padding."""
    if isinstance(x, dict) and "padding_mask" in x:
        return tf.cast(x["padding_mask"], "float32")
    return tf.ones(tf.shape(like)[:2])


def _mean(values, mask):
    return tf.reduce_sum(values * mask, -1) / tf.reduce_sum(mask, -1)


def _blocks(model):
    _, found = weights.blocks(model.backbone_layers)
    if not found or any(len(layers) > 1 for layers in found.values()):
        raise UserError("distillation: hidden needs a backbone of transformer blocks. Received: one without")
    return [layers[0] for layers in found.values()]


def _projections(model):
    queries, keys = deltas.find(model, deltas.QUERY), deltas.find(model, deltas.KEY)
    if not queries or len(queries) != len(keys):
        raise UserError("distillation: attention needs a backbone with queries and keys. Received: one without")
    return list(zip(queries, keys, strict=True))


def _spread(layers, count):
    """Returns `count` of the layers, spread evenly, the last among them."""
    return [layers[math.ceil((number + 1) * len(layers) / count) - 1] for number in range(count)]


def _width(layer):
    return layer.output.shape[-1]


def _projection(width, wanted):
    layer = keras.layers.Dense(wanted, use_bias=False, dtype="float32", name="projection")
    layer.build((None, width))
    return layer


def _hashable(value):
    return value if isinstance(value, (str, bytes)) else np.asarray(value).tobytes()
