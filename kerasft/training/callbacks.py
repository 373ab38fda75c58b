"""The callbacks of a training: kerasft's own and the user's, in the order in which they must act."""

import functools
import warnings

import keras

from kerasft import registry
from kerasft.callbacks.base import WeightAverage
from kerasft.pipeline import batching
from kerasft.training import batch_statistics


def arrange(given, rows, monitor, tensorboard):
    """Returns the callbacks of a stage.

    Args:
        given: sequence of `keras.callbacks.Callback`. The user's; an EarlyStopping or TensorBoard replaces our own.
        rows: int. Training examples.
        monitor: pair as `Task.monitor`, or None without validation data.
        tensorboard: function without arguments that returns a `keras.callbacks.TensorBoard`.
    """
    get = functools.partial(registry.find, "callbacks")
    averages = [callback for callback in given if isinstance(callback, WeightAverage)]
    # Averages come first: what comes after them at the end of an epoch looks at, and keeps, the averaged weights.
    made = [*averages, get("progress")(rows), get("terminate_on_nan")()]
    if not any(isinstance(callback, keras.callbacks.TensorBoard) for callback in given):
        made.append(tensorboard())
    own = any(isinstance(callback, keras.callbacks.EarlyStopping) for callback in given)
    if monitor is not None and not own:
        name, mode = monitor
        made.append(keras.callbacks.EarlyStopping(monitor=name, mode=mode, patience=3, restore_best_weights=True))
    return [*made, *(callback for callback in given if callback not in averages)]


def finish(model, given, examples, settings):
    """Ends what averages of weights leave open after the last stage: the statistics of BatchNorm."""
    averages = [callback for callback in given if isinstance(callback, WeightAverage)]
    for callback in averages:
        if not callback.count.numpy():
            what = f"{registry.describe(callback)}: training ended before it began; nothing was averaged"
            warnings.warn(what, stacklevel=2)
    if not all(callback.has_statistics for callback in averages):
        rows = functools.partial(batching.training_batches, examples, settings.batch_size, settings.seed, 0)
        batch_statistics.estimate(model, lambda: batching.dataset(examples, rows))
