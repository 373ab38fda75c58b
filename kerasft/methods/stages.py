"""Several methods, one after the other."""

import dataclasses
import functools
import math
from typing import Any

from kerasft import deltas, registry, weights
from kerasft.errors import UserError, nearest
from kerasft.methods.base import Method


@dataclasses.dataclass(frozen=True)
class Part:
    """One method among several.

    Attributes:
        method: kerasft.methods.base.Method.
        epochs: int or None. None takes those that the others leave.
        learning_rate: float or None. Peak; None is the method's default.
    """

    method: Any
    epochs: int | None = None
    learning_rate: float | None = None


KEYS = tuple(field.name for field in dataclasses.fields(Part))


class Stages(Method):
    """Trains with one method for some epochs, then with the next, each with its own schedule and optimizer.

    What a stage learned stays in the model. Weights that methods make, such as LoRA's, are there from the beginning,
    change nothing until their stage, learn in it and stand still afterwards. All that learned in any stage is saved.

    Args:
        stages: list of dicts `{"method": name, dict or Method, "epochs": int, "learning_rate": float}`. The last may
            leave out its `epochs` and takes what is left. Without `learning_rate`, a stage has its method's; the last
            one has the run's, which is its method's unless given.

    Raises: UserError, with the number of the stage, for an unknown method or argument, before anything is loaded; if
        the epochs are not those of the run.
    Example:
        >>> probe = {"method": "linear_probe", "epochs": 1, "learning_rate": 5e-3}
        >>> kerasft.FineTuner(task=…, backbone=…, method={"name": "stages", "stages": [probe, {"method": "lora"}]})
    """

    def __init__(self, stages):
        if not isinstance(stages, (list, tuple)) or not stages:
            raise UserError(f"stages: stages must be a list of dicts. Received: stages={stages!r}")
        last = len(stages) - 1
        self.parts, problems = [], []
        for number, stage in enumerate(stages):
            try:
                self.parts.append(_part(stage, needs_epochs=number < last))
            except UserError as error:
                problems.append(f"stages.{number}: {error}")
        registry.raise_if(problems)
        rates = [part.method.learning_rate for part in self.parts]
        shared = {name: rate for name, rate in rates[-1].items() if all(name in other for other in rates)}
        self.learning_rate = shared  # type: ignore[misc]  # That of its class stands for any methods.
        self.starts_as_pretrained = all(part.method.starts_as_pretrained for part in self.parts)
        self.shares_base = all(part.method.shares_base for part in self.parts)
        self.deltas = []

    def get_config(self):
        """Returns the arguments."""
        parts = [{key: getattr(part, key) for key in KEYS} for part in self.parts]
        return {"stages": [{key: value for key, value in part.items() if value is not None} for part in parts]}

    def prepare(self, preprocessor):
        for part in self.parts:
            part.method.prepare(preprocessor)

    def attach(self, model):
        known = set()
        for part in self.parts:
            part.method.attach(model)
            made = [delta for _, delta in deltas.of(model) if id(delta) not in known]
            known |= {id(delta) for delta in made}
            self.deltas.append(made)

    def apply(self, model):
        learned = {}
        for number, part in enumerate(self.parts):
            self._begin(number, part.method.apply, model)
            learned.update(weights.learned(model))
        weights.train_only(model, learned.values())

    def stages(self, model, epochs):
        modality = next((name for name in self.learning_rate if name in model.head.reads), "text")
        found = []
        for number, (part, length) in enumerate(zip(self.parts, self._lengths(epochs), strict=True)):
            own = part.learning_rate
            if own is None and number < len(self.parts) - 1:
                own = part.method.learning_rate[modality]
            for stage in part.method.stages(model, length):
                factors = part.method.rates(model) if stage.factors is None else stage.factors
                begin = functools.partial(self._begin, number, stage.apply)
                rate = stage.learning_rate or own
                found.append(dataclasses.replace(stage, apply=begin, learning_rate=rate, factors=factors))
        return found

    def _lengths(self, epochs):
        given = [part.epochs for part in self.parts]
        if given[-1] is None:
            given[-1] = epochs - sum(given[:-1])
        if given[-1] < 1 or sum(given) != epochs:
            shown = [part.epochs for part in self.parts]
            raise UserError(f"stages: the epochs of all stages are not those of the run. Received: {shown}, {epochs=}")
        return given

    def _begin(self, number, apply, model):
        """Chooses what a stage trains, whatever those before it froze, and no weights that others made."""
        apply(model)
        for other, made in enumerate(self.deltas):
            for delta in made if other != number else ():
                delta.trainable = False


def _part(stage, needs_epochs):
    if not isinstance(stage, dict) or "method" not in stage:
        raise UserError(f"a stage is a dict with the key 'method'. Received: {stage!r}")
    for key, value in stage.items():
        if key not in KEYS:
            raise UserError(f"no such key.{nearest(key, KEYS)} There are: {', '.join(KEYS)}. Received: {key}={value!r}")
    epochs, rate = stage.get("epochs"), stage.get("learning_rate")
    if needs_epochs and epochs is None:
        raise UserError(f"only the last stage may leave out its epochs. Received: {stage!r}")
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise UserError(f"epochs must be a whole number, 1 or more. Received: epochs={epochs!r}")
    if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate < math.inf):
        raise UserError(f"learning_rate must be a number above 0. Received: learning_rate={rate!r}")
    return Part(registry.get("methods", stage["method"]), epochs, rate)
