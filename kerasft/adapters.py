"""Several saved adapters on one base in memory."""

import contextlib
import functools
import os
from typing import Any

from kerasft import deltas, quantization, run_folder, weights
from kerasft.errors import UserError, nearest
from kerasft.inspection import run

# What of a FineTuner is the base's; all else is the adapter's: task, head, method, deltas, recipe, folder.
OF_THE_BASE = ("strategy", "pretrained", "_shelf")


class Adapters:
    """The part of `FineTuner` that holds further saved runs on the base of its own, and one of them in use.

    An adapter is all that a run folder holds: deltas, head, labels, and the way texts or images are made ready. The
    methods may differ. The base is in memory once; changing adapters moves no weights and traces nothing anew.
    `predict`, `evaluate`, `save` and `export` are those of the adapter in use.

    Example:
        >>> tuner = kerasft.load("saved_models/reviews")
        >>> tuner.add("saved_models/legal")
        >>> tuner.use("legal").predict(["The lessee shall …"])
        >>> tuner.use("reviews").predict(["a gorgeous, witty film"])
    """

    # FineTuner's.
    arguments: dict
    directory: Any
    name: str
    task: Any
    method: Any
    pretrained: Any
    preprocessor: Any
    model: Any

    @property
    def adapters(self):
        """Names of the adapters on this base, in the order they came."""
        return list(self._shelf)

    def add(self, directory, name=None):
        """Puts a saved run beside those on this base; `use` takes it.

        Args:
            directory: path of a run folder: of the same backbone, and of a method that leaves the backbone's own
                weights as they are, such as lora, adapter, ia3, prompt_tuning or linear_probe, but not qlora.
            name: str or None for the folder's. (That of the tuner's own adapter is its folder's, too.)

        Returns: the tuner.
        Raises: UserError if the name is taken, the folder is no run, or its base is another.
        """
        directory = os.fspath(directory)
        name = _name_of(directory) if name is None else name
        if name in self._shelf:
            raise UserError(f"There is an adapter of this name already; give another. Received: name={name!r}")
        self._refuse_a_changed_base()
        if quantization.of(self.model):
            raise UserError(f"A quantized base cannot be shared. Received: method={self.arguments['method']!r}")
        _refuse_weights_of_the_base(self.model, directory)
        with _bare(self):
            other = _read(directory, self)
            self._shelf[name] = _state(other), deltas.take_off(other.model)
        return self

    def use(self, name):
        """Takes the adapter of this name, or with None switches off the one in use.

        Switched off, the head in use reads the pretrained backbone, and a text has no room in front for prompts.

        Returns: the tuner.
        Raises: UserError if there is no such adapter, or with None if the method changed the backbone itself, whose
            pretrained weights are no longer in memory.
        """
        if name is not None and name not in self._shelf:
            known = ", ".join(self._shelf)
            raise UserError(f"There is no such adapter.{nearest(name, self._shelf)} Known: {known}. Received: {name!r}")
        if name is None:
            self._refuse_a_changed_base()
            self._switch(is_on=False)
            return self
        self._switch(is_on=True)
        in_use = next(known for known, kept in self._shelf.items() if kept is None)
        if name != in_use:
            self._shelf[in_use] = _state(self), deltas.take_off(self.model)
            self._take(name)
        return self

    @functools.cached_property
    def _shelf(self):
        """What each adapter is while it is not in use, by name: attributes of a FineTuner, and its deltas."""
        return {_name_of(self.directory or self.name): None}

    def _take(self, name):
        (state, pairs), self._shelf[name] = self._shelf[name], None
        for attribute in _state(self):
            delattr(self, attribute)
        vars(self).update(state)
        for layer, delta in pairs:
            deltas.put_on(layer, delta)
        self.model.choose(self.method.apply)

    def _switch(self, is_on):
        if is_on == all(delta.is_on for _, delta in deltas.of(self.model)):
            return
        deltas.switch(self.model, is_on)
        self.preprocessor = self.task.preprocessor(self.pretrained)
        if is_on:
            self.method.prepare(self.preprocessor)

    def _refuse_a_changed_base(self):
        self.method.apply(self.model)  # What learns in any of its stages.
        changed = set(weights.learned(self.model)) & _paths_of_the_base(self.model)
        if changed:
            raise UserError(
                "The method changes weights of the backbone itself, whose pretrained values are no longer in memory: "
                f"there is no base to switch to or to share. Received: method={self.arguments['method']!r}, "
                f"which trains {min(changed)}"
            )


def _read(directory, tuner):
    """Returns the FineTuner of a run folder on the base of `tuner`, which must have no deltas on it now."""

    def make(**arguments):
        other = type(tuner)(**arguments)
        if other.task.modality != tuner.task.modality:
            raise UserError(f"It reads {other.task.modality}. Received: {directory!r}")
        if not other.method.shares_base:
            raise UserError(f"It would quantize the base for all. Received: {directory!r}")
        vars(other).update(strategy=tuner.strategy, pretrained=tuner.pretrained)
        return other

    try:
        return run_folder.read(directory, make)
    except UserError as error:
        raise UserError(f"This is no adapter of the base in memory, {tuner.pretrained.name!r}. {error}") from error


@contextlib.contextmanager
def _bare(tuner):
    """Has no deltas on the base for a while."""
    own = deltas.take_off(tuner.model)
    try:
        yield
    finally:
        deltas.take_off(tuner.model)  # Those of a run that could not be read to its end.
        for layer, delta in own:
            deltas.put_on(layer, delta)
        tuner.method.apply(tuner.model)


def _refuse_weights_of_the_base(model, directory):
    run.manifest(directory)
    changed = weights.paths(os.path.join(directory, "weights.safetensors")) & _paths_of_the_base(model)
    if changed:
        raise UserError(
            f"The run holds weights of the base itself ({len(changed)}, such as {min(changed)}), which all adapters "
            "share. It must be of a method that leaves them as they are, such as lora, and of a backbone with a name. "
            f"Received: directory={directory!r}"
        )


def _paths_of_the_base(model):
    others = [*model.head.weights, *(variable for _, delta in deltas.of(model) for variable in delta.weights)]
    known = {id(variable) for variable in others}
    return {path for path, variable in weights.by_path(model).items() if id(variable) not in known}


def _state(tuner):
    return {name: value for name, value in vars(tuner).items() if name not in OF_THE_BASE}


def _name_of(directory):
    return os.path.basename(os.path.normpath(directory))
