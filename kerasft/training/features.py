"""What the frozen part of a model makes of the examples: computed once, and read by every epoch."""

import contextlib
import dataclasses
import hashlib
import os
import sys
import time
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from kerasft import __version__, cache, frozen, weights
from kerasft.callbacks.progress import Line, clock
from kerasft.pipeline import batching

BFLOAT16 = tf.bfloat16.as_numpy_dtype


@dataclasses.dataclass
class Features:
    """Examples whose frozen part is computed; for `batching` they are examples like others.

    Attributes:
        examples: `TokenizedText` or `Images` that they were made of.
        values: `(rows, …)`, or of tokens `(tokens, width)`, an array in a file.
        starts: `(rows,)`. Where the row, or its tokens, begins in `values`.
        by_token: bool. Whether there is a vector for each token.
        reads: list of str. Inputs that the model needs beside them.
    """

    examples: Any
    values: np.ndarray
    starts: np.ndarray
    by_token: bool
    reads: list
    views = 1

    def __len__(self):
        return len(self.examples)

    @property
    def draws(self):
        """Those of the examples."""
        return self.examples.draws

    @property
    def lengths(self):
        """Tokens of each row, as of the examples: batches are what they were."""
        return self.examples.lengths

    @property
    def target_signature(self):
        """That of the examples."""
        return self.examples.target_signature

    def gather_targets(self, rows, width=None):
        """Returns those of the examples."""
        return self.examples.gather_targets(rows, width)

    @property
    def preprocessor(self):
        """That of the examples."""
        return self.examples.preprocessor

    @property
    def signature(self):
        """The `tf.TensorSpec`s of what `gather` returns."""
        shape = (None, *([None] if self.by_token else []), *self.values.shape[1:])
        beside = {name: self.examples.signature[name] for name in self.reads}
        return {frozen.FEATURES: tf.TensorSpec(shape, self.values.dtype), **beside}

    def gather(self, rows, width=None):
        """Returns the features of these rows, of tokens filled up with 0 to `width`, and the inputs beside them."""
        inputs = self.examples.gather(rows, width) if self.reads else {}
        made = self._by_token(rows, width) if self.by_token else self.values[self.starts[rows]]
        return {frozen.FEATURES: made, **{name: inputs[name] for name in self.reads}}

    def _by_token(self, rows, width):
        made = np.zeros((len(rows), width, *self.values.shape[1:]), self.values.dtype)
        for place, start, length in zip(made, self.starts[rows], self.lengths[rows], strict=True):
            place[:length] = self.values[start : start + length]
        return made

    @staticmethod
    def finish(inputs):
        """What is left to do to a batch in the graph: nothing."""
        return inputs


def is_worth_it(model, epochs):
    """Returns True if epochs would compute the same again and again: more than one, of a model with a frozen part."""
    return bool(model.frozen) and epochs > 1 and all(objective.takes_features for objective in model.objectives)


def once(model, data, epochs, check):
    """Returns `Features` of training and validation examples where that saves time, otherwise the examples.

    Without dropout in it, the frozen part gives in every epoch the same, but for the rounding of batches of other rows.
    On the disk lie the numbers that the model computes with: nothing is rounded further.

    Args:
        model: FineTunedModel, whose `frozen` part is chosen.
        data: pair of examples; the second may be None.
        epochs: int. All of the stage: an interrupted run must decide as it did before.
        check: function without arguments, called after each batch; it may raise what ends the computing.
    """
    if not is_worth_it(model, epochs) or not data[0].is_by_row or data[0].views > 1:
        return data
    try:
        return [examples and _features(model, examples, check) for examples in data]
    except OSError as error:
        print(f"Frozen layers run in each epoch: what they compute cannot be kept ({error}).", file=sys.stderr)
        return data


def _features(model, examples, check):
    """Returns the `Features` of these examples, from the disk if they were computed before."""
    by_token = examples.lengths is not None and not model.frozen.head
    batches = batching.ordered_batches(examples, batching.ROWS)
    order, sizes = np.concatenate(batches), examples.lengths if by_token else np.ones(len(examples), int)
    starts = np.empty(len(examples), int)
    starts[order] = np.cumsum(sizes[order]) - sizes[order]
    path = cache.folder() / "features" / f"{_key(model, examples)}.npy"
    values = _read(path, sizes.sum())
    if values is None:
        _write(path, model, examples, batches, sizes if by_token else None, check)
        values = _read(path, sizes.sum())
    return Features(examples, values, starts, by_token, model.frozen.reads)


def _key(model, examples):
    """Returns what stands for everything that the features depend on."""
    part, versions = model.frozen, (__version__, keras.__version__, keras_hub.__version__, tf.__version__)
    last = part.head.get_config().get("pooling") if part.head else part.last.path
    policies = sorted({layer.dtype_policy.name for layer in model.layers})
    found = hashlib.sha256(repr((versions, last, policies, examples.digest())).encode())
    found.update(weights.fingerprint(part.variables).encode())
    return found.hexdigest()[:32]


def _read(path, entries):
    """Returns the array in a file of features, mapped into memory, or None if there is no such file or it is broken."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    with contextlib.suppress(OSError):  # A cache that may be read only.
        os.utime(path)
    if values.dtype.kind == "V":  # NumPy has no name for it.
        values = values.view(BFLOAT16)
    return values if len(values) == entries else None


def _write(path, model, examples, batches, lengths, check):  # noqa: PLR0913
    """Computes the features of all batches and writes them one after the other.

    Args:
        lengths: `(rows,)`. Vectors of each row, or None where a row has one entry.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = batching.dataset(dataclasses.replace(examples, targets=None), lambda: batches, count=len(batches))
    compute = tf.function(model.above_frozen, input_signature=dataset.element_spec, autograph=False)
    progress = _Progress(model.frozen, len(examples))
    with cache.written(path) as file:
        for rows, (inputs,) in zip(batches, dataset, strict=True):
            made = compute(inputs)[frozen.FEATURES].numpy()
            if lengths is not None:
                made = made[np.arange(made.shape[1]) < lengths[rows][:, None]]
            made = made.view("V2") if made.dtype == BFLOAT16 else made
            if not file.tell():
                entries = len(examples) if lengths is None else int(lengths.sum())
                cache.make_room(path.parent, entries * made[0].nbytes)
                header = {"descr": made.dtype.str, "fortran_order": False, "shape": (entries, *made.shape[1:])}
                np.lib.format.write_array_header_2_0(file, header)
            file.write(made.tobytes())
            progress.add(len(rows))
            check()
    progress.end(path.stat().st_size)


class _Progress:
    """How far the frozen part is, how fast, how long still."""

    def __init__(self, part, rows):
        self.what = f"frozen layers once ({part.blocks} of {part.of_blocks} blocks)"
        self.rows, self.done = rows, 0
        self.began, self.line = time.monotonic(), Line()

    def add(self, rows):
        self.done += rows
        if self.line.is_due():
            rate = self.done / (time.monotonic() - self.began)
            how_far = f"{self.done:,} of {self.rows:,} examples"
            left = clock((self.rows - self.done) / rate)
            self.line.show(f"{self.what}  {how_far}  {rate:.0f} examples/s  {left} left")

    def end(self, size):
        seconds = time.monotonic() - self.began
        examples = f"{self.rows:,} examples in {seconds:.1f} s"
        self.line.show(f"{self.what}  {examples}, {size / 1e6:,.1f} MB in the cache", last=True)
