"""Where an interrupted run goes on: the state after each epoch, whole or not at all."""

import json
import os
import shutil

import keras
import numpy as np


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, dropout seeds and optimizer after each epoch, by position, in `directory`.

    Keras's own `BackupAndRestore` forgets the dropout seeds and keys optimizer state by generated names. The order of
    the data needs no saving: it is a pure function of (seed, epoch).

    Args:
        directory: str. A folder of its own; the newest state replaces the one before by renaming.
        history: dict. Logs of the epochs before this fit, kept with the state.
    """

    def __init__(self, directory, history=None):
        super().__init__()
        self.directory = directory
        self.logs = {name: list(values) for name, values in (history or {}).items()}

    def on_epoch_end(self, epoch, logs=None):
        from safetensors.numpy import save_file

        for name, value in (logs or {}).items():
            self.logs.setdefault(name, []).append(float(value))
        if epoch + 1 >= self.params["epochs"]:
            return
        partial = f"{self.directory}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        arrays = {str(i): np.ascontiguousarray(v.numpy()) for i, v in enumerate(state(self.model))}
        save_file(arrays, os.path.join(partial, "state.safetensors"))
        with open(os.path.join(partial, "state.json"), "w", encoding="utf-8") as file:
            json.dump({"epochs_done": epoch + 1, "history": self.logs}, file)
        shutil.rmtree(self.directory, ignore_errors=True)
        os.replace(partial, self.directory)


def read(directory):
    """Returns `(epochs done, history)` of the state in `directory`, or `(0, {})` where there is none."""
    try:
        with open(os.path.join(directory, "state.json"), encoding="utf-8") as file:
            state_of = json.load(file)
    except FileNotFoundError:
        return 0, {}
    return state_of["epochs_done"], state_of["history"]


def restore(directory, model):
    """Puts the state in `directory` into a compiled model whose optimizer is built."""
    from safetensors.numpy import load_file

    arrays = load_file(os.path.join(directory, "state.safetensors"))
    variables = state(model)
    if len(arrays) != len(variables):
        raise ValueError(f"{directory} holds {len(arrays)} variables, the model {len(variables)}")
    for i, variable in enumerate(variables):
        variable.assign(arrays[str(i)])


def state(model):
    """Returns all variables that training reads and writes, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]
