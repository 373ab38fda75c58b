"""Where an interrupted run goes on: the state after each epoch, whole or not at all."""

import collections
import contextlib
import json
import os

import keras
import numpy as np

from kerasft import weights
from kerasft.errors import UserError

FILE = "state.safetensors"
SEARCH = ("best", "best_epoch", "wait")  # What an EarlyStopping knows of the epochs before, beside the weights.


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, dropout seeds, optimizer and early stopping after each epoch but the last, in `directory`.

    Each stage of a run begins with the state of the epoch before, whether or not the run was interrupted there. So an
    interrupted run cannot differ from another, and early stopping searches all stages, which are as many `fit`s.

    Keras's own `BackupAndRestore` forgets the dropout seeds and which weights were best, and keys optimizer state by
    generated names. The order of the data needs no saving: it is a pure function of (seed, epoch).

    Args:
        directory: str. A folder of its own; one file in it, replaced by renaming.
        epochs: int. Of the run, in all its stages.
        history: dict. Logs of the epochs before this fit, kept with the state.
        early_stopping: list of `keras.callbacks.EarlyStopping`. Must come before this in the list of callbacks.
        averages: list of `kerasft.callbacks.base.WeightAverage`. Must come before this too.

    Raises: UserError if the epochs before had another number of `early_stopping`.
    """

    def __init__(self, directory, epochs, history=None, early_stopping=(), averages=()):
        super().__init__()
        self.directory = directory
        self.epochs = epochs
        self.logs = {name: list(values) for name, values in (history or {}).items()}
        self.early_stopping = list(early_stopping)
        self.averages = list(averages)

    def on_train_begin(self, logs=None):
        if os.path.exists(os.path.join(self.directory, FILE)):
            # Here, because Keras's own `on_train_begin` begins a new search for the best weights.
            _restore_early_stopping(self.directory, self.early_stopping)
            _restore_averages(self.directory, self.averages)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.logs.setdefault(name, []).append(float(value))
        # An epoch that ends the run is trained again if the run is interrupted before it is saved as a whole.
        if epoch + 1 < self.epochs and not self.model.stop_training:
            self._save(epoch + 1)

    def _save(self, epochs_done):
        from safetensors.numpy import save_file

        arrays = {f"variable.{i}": weights.view(variable) for i, variable in enumerate(self.model.variables)}
        slots = _slots(self.model.optimizer)
        arrays |= {f"optimizer.{name}": weights.view(variable) for name, variable in slots.items()}
        for number, callback in enumerate(self.early_stopping):
            arrays |= {f"best.{number}.{i}": array for i, array in enumerate(callback.best_weights or ())}
        arrays |= {name: weights.view(variable) for name, variable in _states(self.averages).items()}
        found = [{name: getattr(callback, name) for name in SEARCH} for callback in self.early_stopping]
        words = {"epochs_done": epochs_done, "history": self.logs, "early_stopping": found}
        os.makedirs(self.directory, exist_ok=True)
        partial = os.path.join(self.directory, f"{FILE}.partial")
        # Not `ascontiguousarray`, which makes a vector of a number such as the optimizer's step.
        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        save_file(arrays, partial, metadata={"state": json.dumps(words, default=float)})
        os.replace(partial, os.path.join(self.directory, FILE))


def read(directory):
    """Returns `(epochs done, history)` of the state in `directory`, or `(0, {})` where there is none.

    Raises: UserError if it cannot be read.
    """
    if not os.path.exists(os.path.join(directory, FILE)):
        return 0, {}
    with _opened(directory) as file:
        words = _words(file)
        return words["epochs_done"], words["history"]


def restore(directory, model):
    """Puts the weights and dropout seeds of the state in `directory` into a model."""
    with _opened(directory) as file:
        for number, variable in enumerate(model.variables):
            variable.assign(file.get_tensor(f"variable.{number}"))


def restore_optimizer(directory, optimizer, is_same=True):
    """Puts what the state in `directory` knows of an optimizer into one that is built.

    Args:
        is_same: bool. False if it learns other weights: what the state knows of those that both learn goes on.
    """
    with _opened(directory) as file:
        slots, known = _slots(optimizer), set(file.keys())
        for name, variable in slots.items():
            if is_same or f"optimizer.{name}" in known:
                variable.assign(file.get_tensor(f"optimizer.{name}"))


def _slots(optimizer):
    """Returns `{name: variable}` of all that an optimizer keeps, by names that it has in each stage and process.

    Not the path, which begins with the optimizer's own name and a running number. Some backbones have weights of one
    path in several layers: these are counted from the end, since methods unfreeze from the top downwards.
    """
    found, times = {}, collections.Counter()
    for variable in reversed(optimizer.variables):
        name = variable.path.split("/", 1)[-1]
        times[name] += 1
        found[f"{name}#{times[name]}"] = variable
    return found


def _restore_early_stopping(directory, callbacks):
    with _opened(directory) as file:
        before, names = _words(file)["early_stopping"], file.keys()
        for number, found in enumerate(before):
            count = sum(name.startswith(f"best.{number}.") for name in names)
            found["best_weights"] = [file.get_tensor(f"best.{number}.{i}") for i in range(count)] or None
    if len(before) != len(callbacks):
        raise UserError(
            f"The epochs before had {len(before)} EarlyStopping callbacks; give as many, or choose another folder. "
            f"Received: {len(callbacks)}, directory={os.path.dirname(directory)!r}"
        )
    for callback, found in zip(callbacks, before, strict=True):
        for name, value in found.items():
            setattr(callback, name, value)


def _restore_averages(directory, callbacks):
    with _opened(directory) as file:
        known = set(file.keys())  # Not those of weights that learn from this stage on.
        for name, variable in _states(callbacks).items():
            if name in known:
                variable.assign(file.get_tensor(name))


def _states(callbacks):
    """Returns `{name: variable}` of all that averages of weights keep."""
    states = enumerate(callback.state for callback in callbacks)
    return {f"average.{number}.{name}": variable for number, state in states for name, variable in state.items()}


def _words(file):
    return json.loads(file.metadata()["state"])


@contextlib.contextmanager
def _opened(directory):
    """Yields the safetensors file of a state. Raises UserError if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    path = os.path.join(directory, FILE)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The state of the interrupted run cannot be read ({error}). Received: {path!r}") from error
