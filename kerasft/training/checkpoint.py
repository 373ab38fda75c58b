"""Where an interrupted run goes on: the state after each epoch, whole or not at all."""

import json
import os

import keras
import numpy as np

from kerasft import weights
from kerasft.errors import UserError

FILE = "state.safetensors"
SEARCH = ("best", "best_epoch", "wait")  # What an EarlyStopping knows of the epochs before, beside the weights.


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, dropout seeds, optimizer and early stopping after each epoch, by position, in `directory`.

    Keras's own `BackupAndRestore` forgets the dropout seeds and which weights were best, and keys optimizer state by
    generated names. The order of the data needs no saving: it is a pure function of (seed, epoch).

    Args:
        directory: str. A folder of its own; one file in it, replaced by renaming.
        history: dict. Logs of the epochs before this fit, kept with the state.
        early_stopping: list of `keras.callbacks.EarlyStopping`. Must come before this in the list of callbacks.
        is_continued: bool. True to put the state of `early_stopping` back when training begins.
    """

    def __init__(self, directory, history=None, early_stopping=(), is_continued=False):
        super().__init__()
        self.directory = directory
        self.logs = {name: list(values) for name, values in (history or {}).items()}
        self.early_stopping = list(early_stopping)
        self.is_continued = is_continued

    def on_train_begin(self, logs=None):
        if self.is_continued:  # Here, because Keras's own `on_train_begin` begins a new search for the best weights.
            _restore_early_stopping(self.directory, self.early_stopping)

    def on_epoch_end(self, epoch, logs=None):
        from safetensors.numpy import save_file

        for name, value in (logs or {}).items():
            self.logs.setdefault(name, []).append(float(value))
        if epoch + 1 >= self.params["epochs"]:
            return
        arrays = {f"variable.{i}": weights.view(variable) for i, variable in enumerate(state(self.model))}
        for number, callback in enumerate(self.early_stopping):
            arrays |= {f"best.{number}.{i}": array for i, array in enumerate(callback.best_weights or ())}
        found = [{name: getattr(callback, name) for name in SEARCH} for callback in self.early_stopping]
        words = {"epochs_done": epoch + 1, "history": self.logs, "early_stopping": found}
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
    words, _ = _load(directory, names=())
    return words.get("epochs_done", 0), words.get("history", {})


def restore(directory, model):
    """Puts the state in `directory` into a compiled model whose optimizer is built."""
    variables = state(model)
    _, arrays = _load(directory, [f"variable.{i}" for i in range(len(variables))])
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def state(model):
    """Returns all variables that training reads and writes, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]


def _restore_early_stopping(directory, callbacks):
    words, _ = _load(directory, names=())
    for number, (callback, found) in enumerate(zip(callbacks, words["early_stopping"], strict=True)):
        for name, value in found.items():
            setattr(callback, name, value)
        if callback.restore_best_weights:
            names = [f"best.{number}.{i}" for i in range(len(callback.model.weights))]
            callback.best_weights = _load(directory, names)[1]


def _load(directory, names):
    """Returns the words and the arrays of these names in a state."""
    from safetensors import SafetensorError, safe_open

    path = os.path.join(directory, FILE)
    if not os.path.exists(path):
        return {}, []
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads(file.metadata()["state"]), [file.get_tensor(name) for name in names]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The state of the interrupted run cannot be read ({error}). Received: {path!r}") from error
