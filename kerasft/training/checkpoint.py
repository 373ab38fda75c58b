"""What an interrupted run needs to go on as if nothing had happened, and when it is kept."""

import collections
import dataclasses
import functools
import time
from typing import NamedTuple

import keras
import numpy as np

from kerasft import weights
from kerasft.callbacks.base import WeightAverage, diverged
from kerasft.errors import Interrupted, UserError

SECONDS = 5  # At least between savings at the ends of epochs; those that are done sooner are soon done anew.
# What Keras's callbacks know of the epochs before; EarlyStopping's best weights come beside.
SEARCHES = {
    keras.callbacks.EarlyStopping: ("best", "best_epoch", "wait", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


@dataclasses.dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: int. Epochs done, in all stages. step: int. Steps done of the next one.
        history: dict. Logs of the epochs done, by name.
        is_stopped: bool. True if a callback ended the run.
        rate_factor: float. Of all learning rates; below 1 once it diverged and went on.
        begins: list of int. Updates before this stage, and before those that it goes on from, but for the first.
        rows_at_once: int or None. Rows of a batch that this stage computes at once; None for all.
    """

    epoch: int = 0
    step: int = 0
    history: dict = dataclasses.field(default_factory=dict)
    is_stopped: bool = False
    rate_factor: float = 1.0
    begins: list = dataclasses.field(default_factory=list)
    rows_at_once: int | None = None


class Often(NamedTuple):
    """When a state is kept.

    Attributes:
        steps: int. Of an epoch.
        every: int. Steps between two checkpoints within an epoch.
        seconds: float. At least between savings at the ends of epochs.
    """

    steps: int
    every: int
    seconds: float


class Frozen:
    """The weights that no stage of a run moves: a checkpoint does not hold them, but knows which they were.

    Args:
        variables: list of `keras.Variable`.
    """

    def __init__(self, variables):
        self.variables = variables
        self.known = {id(variable) for variable in variables}

    def __contains__(self, variable):
        return id(variable) in self.known

    @functools.cached_property
    def fingerprint(self):
        """The SHA-256 of their values, or None if there are none."""
        return weights.fingerprint(self.variables) if self.variables else None


def position(saved):
    """Returns the `Position` that a `kerasft.training.store.Saved` was made at; of None, the beginning."""
    return Position(**saved.words["position"]) if saved else Position()


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, seeds, optimizer, metrics and callbacks after some steps and epochs. The last callback.

    Each stage of a run begins with the state of the epoch before, whether or not the run was interrupted there. So an
    interrupted run cannot differ from another, and early stopping searches all stages, which are as many `fit`s.

    Keras's own `BackupAndRestore` forgets the dropout seeds and which weights were best, and keys optimizer state by
    generated names. The order of the data needs no saving: it is a pure function of (seed, epoch).

    Args:
        store: kerasft.training.store.Store.
        signals: kerasft.training.signals.Signals.
        often: Often.
        callbacks: list of `keras.callbacks.Callback`. All that come before this.
        frozen: Frozen.
        digest: str or None. Of the training examples.

    Attributes:
        saved: kerasft.training.store.Saved or None. What the training goes on from, be it of this process or another.
        position: Position. How far it has come.
        last: int. The number of epochs that are done when `model.fit` ends; that state is always kept.

    Raises: UserError if what it goes on from had other callbacks, other data or other frozen weights; Diverged in place
        of saving what is no number, such as weights that the loss did not need.
    """

    last = 0

    def __init__(self, store, signals, often, callbacks, frozen, digest):  # noqa: PLR0913
        super().__init__()
        self.store = store
        self.saved = store.newest()
        self.frozen = frozen
        self.digest = digest
        if self.saved and self.saved.words.get("data") not in (None, digest):
            raise UserError(
                "The training data are others than when the run was interrupted: give the same data, or "
                f"resume='never'. Received: the checkpoints of {store.directory!r}"
            )
        if self.saved and self.saved.words.get("frozen") not in (None, frozen.fingerprint):
            raise UserError(
                "The frozen weights of the backbone are others than when the run was interrupted: give the same "
                f"backbone, or resume='never'. Received: the checkpoints of {store.directory!r}"
            )
        self.position = position(self.saved)
        self.steps, self.every, self.seconds = often
        self.searches = [callback for callback in callbacks if isinstance(callback, tuple(SEARCHES))]
        self.averages = [callback for callback in callbacks if isinstance(callback, WeightAverage)]
        self.signals = signals
        self.saved_at = time.monotonic()

    def on_train_begin(self, logs=None):
        if self.saved:  # Here, because Keras's own `on_train_begin` begins a new search for the best weights.
            _restore_searches(self.saved, self.searches, self.model)
            _restore(self.saved, _states(self.averages))

    def on_epoch_begin(self, epoch, logs=None):
        if self.position.step:  # What begins an epoch has just set all this to zero.
            _restore(self.saved, _metrics(self.model) | _states(self.averages))

    def on_train_batch_end(self, batch, logs=None):
        self.position.step = batch + 1
        if self.position.step == self.steps:  # What follows soon, the end of the epoch, saves.
            return
        self.leave_if_asked()
        if self.position.step % self.every == 0:
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        history = self.position.history
        for name, value in (logs or {}).items():
            history.setdefault(name, []).append(float(value))
        self.position = dataclasses.replace(
            self.position, epoch=epoch + 1, step=0, history=history, is_stopped=self.model.stop_training
        )
        is_needed = epoch + 1 == self.last or self.model.stop_training or self.signals.received
        if is_needed or time.monotonic() - self.saved_at >= self.seconds:
            self.save()
        if self.signals.received:
            self._leave()

    def leave_if_asked(self):
        """Saves and raises Interrupted after a signal."""
        if self.signals.received:
            self.save()
            self._leave()

    def save(self):
        """Writes all that training moves."""
        everything = enumerate(self.model.variables)
        variables = {f"variable.{i}": variable for i, variable in everything if variable not in self.frozen}
        variables |= _slots(self.model.optimizer) | _states(self.averages) | _metrics(self.model)
        arrays = {name: weights.view(variable) for name, variable in variables.items()}
        self._check_finite(variables, arrays)
        for number, callback in enumerate(self.searches):
            best = zip(self.model.weights, getattr(callback, "best_weights", None) or (), strict=False)
            arrays |= {f"best.{number}.{i}": a for i, (w, a) in enumerate(best) if w not in self.frozen}
        words = {
            "data": self.digest,
            "frozen": self.frozen.fingerprint,
            "position": dataclasses.asdict(self.position),
            "searches": [_search(callback) for callback in self.searches],
        }
        self.store.save(self.position.epoch * self.steps + self.position.step, arrays, words)
        self.saved_at = time.monotonic()

    def _check_finite(self, variables, arrays):
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                path = getattr(variables[name], "path", variables[name].name)
                raise diverged(self.model, f"{self._where()}: {path} is not finite", path)

    def _where(self):
        epoch, step = self.position.epoch, self.position.step
        return f"epoch {epoch + 1}, step {step}" if step else f"the end of epoch {epoch}"

    def _leave(self):
        self.store.wait()
        where = f"{self.position.epoch} epochs and {self.position.step} steps"
        raise Interrupted(
            f"Stopped by {self.signals.received} after {where}, kept in {self.store.directory}: the same call goes on."
        )


def restore(saved, model):
    """Puts the weights and dropout seeds of a checkpoint into a model."""
    _restore(saved, {f"variable.{number}": variable for number, variable in enumerate(model.variables)})


def restore_optimizer(saved, optimizer, is_same=True):
    """Puts what a checkpoint knows of an optimizer into one that is built.

    Args:
        is_same: bool. False if it learns other weights: what the state knows of those that both learn goes on.
    """
    _restore(saved, _slots(optimizer), is_whole=is_same)


def _restore(saved, variables, is_whole=False):
    for name, variable in variables.items():
        if is_whole or name in saved.arrays:  # What is not there belongs to weights that learn from this stage on.
            variable.assign(saved.arrays[name])


def _slots(optimizer):
    """Returns `{name: variable}` of all that an optimizer keeps, by names that it has in each stage and process.

    Not the path, which begins with the optimizer's own name and a running number. Some backbones have weights of one
    path in several layers: these are counted from the end, since methods unfreeze from the top downwards.
    """
    found, times = {}, collections.Counter()
    for variable in reversed(optimizer.variables):
        name = variable.path.split("/", 1)[-1]
        times[name] += 1
        found[f"optimizer.{name}#{times[name]}"] = variable
    return found


def _metrics(model):
    """Returns `{name: variable}` of the sums of the epoch so far."""
    found = [variable for metric in model.metrics for variable in metric.variables]
    return {f"metric.{number}": variable for number, variable in enumerate(found)}


def _states(callbacks):
    """Returns `{name: variable}` of all that averages of weights keep."""
    states = enumerate(callback.state for callback in callbacks)
    return {f"average.{number}.{name}": variable for number, state in states for name, variable in state.items()}


def _search(callback):
    """Returns what a callback of Keras knows of the epochs before, with its class, as JSON can hold it."""
    cls, names = next((cls, names) for cls, names in SEARCHES.items() if isinstance(callback, cls))
    return {"class": cls.__name__, **{name: getattr(callback, name) for name in names}}


def _restore_searches(saved, callbacks, model):
    before = saved.words["searches"]
    wanted, given = [found["class"] for found in before], [_search(callback)["class"] for callback in callbacks]
    if wanted != given:
        raise UserError(
            f"The steps before had the callbacks [{', '.join(wanted)}]; give as many, or choose another folder. "
            f"Received: [{', '.join(given)}], {saved.path!r}"
        )
    for number, (callback, found) in enumerate(zip(callbacks, before, strict=True)):
        for name, value in found.items():
            if name != "class":
                setattr(callback, name, value)
        if isinstance(callback, keras.callbacks.EarlyStopping):
            names = [f"best.{number}.{i}" for i in range(len(model.weights))]
            best = zip(names, model.weights, strict=True)  # What is not there is frozen.
            best = [saved.arrays[name] if name in saved.arrays else weights.view(weight) for name, weight in best]
            callback.best_weights = best if any(name in saved.arrays for name in names) else None
