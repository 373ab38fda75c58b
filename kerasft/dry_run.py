"""`kerasft fit --dry-run`: does it run, how long will it take, how much room does it need?"""

import contextlib
import dataclasses
import datetime
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasft import cache, console, memory, registry
from kerasft import recipe as recipes
from kerasft.data import base as data_sources
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import batching, clean
from kerasft.training import features, store

BATCHES = 3  # Of the longest rows, and of rows of middle length; the first step also makes the graph.
AT_ONCE = 3  # Checkpoints on the disk: two that are kept and one that is being written.


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a fit would take.

    Attributes:
        directory: str. Where it would be written.
        step_seconds: float. The longest step.
        steps: int. Of an epoch.
        epoch_seconds: list of float. Each epoch with its validation, without loading and making graphs.
        peak_bytes: int. Greatest memory of this process, evaluation and export included.
        free_memory_bytes: int or None. Before it began.
        run_bytes: int. The run folder. export_bytes: int, a SavedModel.
        checkpoint_bytes: int. The states on the way, which are gone in the end.
        free_disk_bytes: int. Where the run folder will be.
    """

    directory: str
    step_seconds: float
    steps: int
    epoch_seconds: list
    peak_bytes: int
    free_memory_bytes: int | None
    run_bytes: int
    export_bytes: int
    checkpoint_bytes: int
    free_disk_bytes: int


def dry_run(recipe):
    """Reads and checks all data, tries the recipe on its longest rows and some of middle length, and keeps nothing.

    Each stage takes some steps and a validation; then come an evaluation, a saving and an export.

    Args:
        recipe: dict, the arguments of `FineTuner` and `fit`.

    Returns: Forecast.
    Raises: UserError as `fit` and `export` do, or if the disk has no room for the run.
    """
    free_memory = memory.free()
    fit: dict[str, Any] = {"epochs": 3, "batch_size": batching.ROWS, "validation_data": None, "validation_split": 0.0}
    fit |= recipes.arguments_of(recipe, FineTuner.fit)
    rows = batching.rows_of(fit["batch_size"])
    tuner = FineTuner(**{name: value for name, value in recipe.items() if name not in fit})
    fit["data"] = data_sources.load(fit["data"])
    frames = _frames(tuner, fit)
    examples: list[Any] = [
        None if frame is None else tuner.task.examples(frame, tuner.preprocessor) for frame in frames
    ]
    few = frames[0].iloc[examples[0].rows_of(_longest_and_middle(examples[0], rows))]
    passes, stages = _frozen_passes(tuner, fit["epochs"])
    epochs = fit["epochs"] if stages > 1 else min(fit["epochs"], 2 if passes else 1)
    directory = fit.get("directory") or os.path.join("saved_models", tuner.name)
    there = next(path for path in Path(directory).absolute().parents if path.exists())
    with tempfile.TemporaryDirectory(dir=there, prefix="dry-run-") as folder:
        clock = _Clock(os.path.join(folder, "run"))
        with cache.elsewhere(os.path.join(folder, "cache")):
            _fit_few(tuner, {**fit, "epochs": epochs}, fit["data"].loc[few.index], clock)
        pass_seconds = _seconds(lambda: tuner.outputs(few)) if passes else 0.0
        tuner.export(os.path.join(folder, "export", "1"))
        sizes = {f"{name}_bytes": _bytes(os.path.join(folder, name)) for name in ("run", "export")}
    every = [0 if made is None else _positions(made, rows) for made in examples]
    tried = _positions(tuner.task.examples(few, tuner.preprocessor), rows)
    seconds = [sum(n / tried * t for n, t in zip(every, pair, strict=True)) for pair in clock.epoch_seconds]
    seconds = seconds if stages > 1 else seconds[-1:] * fit["epochs"]
    seconds[0] += passes * pass_seconds * sum(every) / tried
    return Forecast(
        directory=directory,
        step_seconds=clock.longest_seconds,
        steps=batching.steps_per_epoch(len(examples[0]), rows),
        epoch_seconds=seconds,
        peak_bytes=memory.peak(),
        free_memory_bytes=free_memory and free_memory[0],
        checkpoint_bytes=AT_ONCE * clock.checkpoint_bytes,
        free_disk_bytes=shutil.disk_usage(there).free,
        **sizes,
    )


def _frames(tuner, fit):
    """Returns the tables of training and validation.

    Objectives that read a file of all training examples are checked and left out: they cost next to nothing.
    """
    quarantine = clean.Quarantine(fit.get("max_bad_rows", 0.0))
    frames = tuner.frames(fit["data"], fit["validation_data"], fit["validation_split"], quarantine)
    for objective in [one for one in tuner.objectives if one.has_file_of_rows]:
        objective.prepare(tuner, frames[0])
        tuner.objectives.remove(objective)
    return frames


def _frozen_passes(tuner, epochs):
    """Returns in how many stages the frozen part is computed but once, and how many stages there are."""
    stages, found = tuner.method.stages(tuner.model, epochs), 0
    for stage in stages:
        tuner.model.choose(stage.apply)
        found += features.is_worth_it(tuner.model, stage.epochs)
    tuner.model.choose(tuner.method.apply)
    return found, len(stages)


def _seconds(function):
    """Returns how long a function takes once what it calls is traced."""
    function()
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _longest_and_middle(examples, batch_size):
    """Returns the numbers of the longest rows and of as many of middle length."""
    order = np.arange(len(examples)) if examples.lengths is None else np.argsort(-examples.lengths, kind="stable")
    wanted = BATCHES * batch_size
    return np.concatenate([np.resize(rows[:wanted], wanted) for rows in (order, order[len(order) // 2 :])])


def _fit_few(tuner, fit, rows, clock):
    """Fits these rows, and validates on them if `fit` validates."""
    is_validated = fit["validation_data"] is not None or fit["validation_split"] > 0
    own = {"data": rows, "validation_data": rows if is_validated else None, "validation_split": 0.0}
    given = registry.listed("callbacks", fit.get("callbacks"))
    given = [callback for callback in given if not isinstance(callback, keras.callbacks.EarlyStopping)]
    # In place of one that might leave out stages; the copy of the weights takes memory.
    stopping = keras.callbacks.EarlyStopping("loss", patience=fit["epochs"], restore_best_weights=is_validated)
    own |= {"directory": clock.directory, "callbacks": [*given, stopping, clock]}
    console.show_weights(tuner.model)
    with warnings.catch_warnings(), console.quiet():  # It would name the folder that is gone soon.
        warnings.simplefilter("ignore", clean.DataWarning)  # Rows that are there more than once.
        tuner.fit(**{**fit, **own})


def _positions(examples, batch_size):
    """Returns how much there is to compute in an epoch: rows times tokens, padding included, or rows of images."""
    if examples.lengths is None:
        return len(examples)
    widths = batching.choose_widths(examples)
    batches = batching.ordered_batches(examples, batch_size)
    return sum(len(batch) * batching.width(examples.lengths[batch], widths) for batch in batches)


def lines(forecast):
    """Returns the forecast in words, a line each for time, memory and disk."""
    duration = datetime.timedelta(seconds=round(sum(forecast.epoch_seconds)))
    size = {name: f"{value / 1e6:,.0f} MB" for name, value in vars(forecast).items() if "bytes" in name and value}
    free = f"; {size['free_memory_bytes']} were free" if forecast.free_memory_bytes else ""
    return [
        f"time    about {duration} for {len(forecast.epoch_seconds)} epochs of {forecast.steps:,} steps; "
        f"the longest takes {forecast.step_seconds * 1000:,.0f} ms",
        f"memory  {size['peak_bytes']} at the peak{free}",
        f"disk    {size['run_bytes']} in {forecast.directory}, up to {size['checkpoint_bytes']} more on the way; "
        f"an export {size['export_bytes']}; {size['free_disk_bytes']} are free",
    ]


def problem(forecast):
    """Returns why the run cannot be as it is, or None."""
    needed = forecast.run_bytes + forecast.checkpoint_bytes
    if needed > forecast.free_disk_bytes:
        return (
            f"The disk has no room for it: {needed / 1e6:,.0f} MB are needed and {forecast.free_disk_bytes / 1e6:,.0f} "
            f"MB free. Received: directory={forecast.directory!r}"
        )
    return None


class _Clock(keras.callbacks.Callback):
    """Times every step of a training with validation.

    Attributes:
        epoch_seconds: list of pairs. All steps of an epoch, and its validation; in place of the first step, which also
            makes a graph, stands the mean of the others.
        longest_seconds: float. checkpoint_bytes: int, of one checkpoint.
    """

    def __init__(self, directory):
        super().__init__()
        self.directory = directory
        self.epoch_seconds, self.longest_seconds, self.checkpoint_bytes = [], 0.0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.steps, self.tests = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(time.perf_counter() - self.began)

    on_test_batch_begin = on_train_batch_begin

    def on_test_batch_end(self, batch, logs=None):
        self.tests.append(time.perf_counter() - self.began)

    def on_epoch_end(self, epoch, logs=None):
        self.longest_seconds = max([self.longest_seconds, *self.steps[1:]])
        pair = (len(times) * float(np.mean(times[1:])) if times[1:] else 0.0 for times in (self.steps, self.tests))
        self.epoch_seconds.append(tuple(pair))

    def on_train_end(self, logs=None):
        checkpoints = Path(self.directory, "checkpoint").glob("step-*")
        self.checkpoint_bytes = max(map(_state_bytes, checkpoints), default=0)


def _state_bytes(checkpoint):
    """Returns the size of a checkpoint's state, also if one that was being written is given its name meanwhile."""
    for folder in (checkpoint, checkpoint.with_suffix("")):
        with contextlib.suppress(FileNotFoundError):
            return (folder / store.STATE).stat().st_size
    return 0


def _bytes(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
