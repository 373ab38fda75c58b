"""Runs the variants of a recipe under one budget, each with several seeds, and tells which differences are real."""

import dataclasses
import glob
import itertools
import json
import os
import shutil
import time

from rich.text import Text

from kerasft import run_folder
from kerasft.compare import processes, records, report, results
from kerasft.console import console
from kerasft.errors import UserError

# What the runs of a comparison differ in. A learning rate is that of a method.
OWN = ("method", "objectives", "learning_rate", "seed", "name")


@dataclasses.dataclass(frozen=True)
class Run:
    """A variant with a seed, and all that is known of it.

    Attributes:
        variant: kerasft.compare.plan.Variant.
        job: kerasft.compare.processes.Job.
        asked: dict. `variant`, `seed`, `recipe`, and the digests of `data` and `test`, as JSON can hold them.
        examples: int. To score on.
    """

    variant: object
    job: processes.Job
    asked: dict
    examples: int

    @property
    def record(self):
        return records.read(self.job.record)

    @property
    def is_done(self):
        record = self.record
        return record.get("test") == self.asked["test"] and len(record.get("scores", ())) == self.examples


def compare(plan, directory=None, command=""):
    """Fits every variant with every seed, each in a process of its own, and writes what came out after each of them.

    The same call goes on where an interrupted one was: finished runs stay as they are, and those that failed are tried
    again. So do calls with further variants or seeds, or with other data to score on.

    Args:
        plan: kerasft.compare.plan.Plan.
        directory: path, or None for `saved_models/<name>_comparison`. Gets a run folder for each variant and seed, with
            its log beside it, and `comparison.json`, `comparison.md` and `comparison.png`.
        command: str. How to run it again, for the report.

    Returns: kerasft.compare.results.Result.
    Raises: UserError if the backbone cannot be had, `directory` holds runs of another recipe or on other data, or every
        run failed.
    Example: >>> compare(plan.make(recipe, ["full", "lora"], test="test.csv")).table
    """
    default = os.path.join("saved_models", f"{plan.name}_comparison")
    numbered = (f"{default}-{number}" if number > 1 else default for number in itertools.count(1))
    for candidate in [os.fspath(directory)] if directory else numbered:
        runs = _runs(plan, candidate)
        obstacle = _obstacle(candidate, runs)
        if not obstacle:
            break
    else:
        raise UserError(f"{obstacle}; choose a new folder. Received: directory={directory!r}")
    os.makedirs(candidate, exist_ok=True)
    _run_all(runs, lambda: _written(plan, runs, candidate, command))
    if not any(run.is_done for run in runs):
        raise UserError(f"All {len(runs)} runs failed, see {runs[0].job.log}. The first: {runs[0].record['error']}")
    return _written(plan, runs, candidate, command)


def _runs(plan, directory):
    """Returns a Run for each seed and variant, seeds outermost: what an interruption leaves is a whole comparison."""
    runs = []
    for seed, variant in itertools.product(plan.seeds, plan.variants):
        folder = os.path.join(directory, f"{variant.slug}_seed{seed}")
        recipe = {**variant.recipe, "seed": seed, "name": os.path.basename(folder)}
        asked = {"variant": variant.name, "seed": seed, "recipe": recipe, **plan.digests}
        asked = json.loads(json.dumps(run_folder.plain(asked)))  # As it will be read again: keys are strings.
        if plan.held_back:
            recipe = {key: value for key, value in recipe.items() if key != "validation_split"} | plan.held_back
        runs.append(Run(variant, processes.Job(folder, recipe, plan.test), asked, plan.examples))
    return runs


def _obstacle(directory, runs):
    """Returns why the runs cannot be in `directory`, or None."""
    if os.path.isfile(directory):
        return "This is a file"
    for run in runs:
        record, name = run.record, os.path.basename(run.job.folder)
        if record and (difference := _difference(record, run.asked)):
            return f"{name} in it is a run {difference}"
        if not record and os.path.exists(run.job.folder):
            return f"{name} in it is no run of a comparison"
    found = set(glob.glob("*_seed*.json", root_dir=directory)) - {os.path.basename(run.job.record) for run in runs}
    for name in sorted(found):
        if difference := _difference(records.read(os.path.join(directory, name)), runs[0].asked, OWN):
            return f"{name.removesuffix('.json')} in it is a run {difference}"
    return None


def _difference(record, asked, apart=()):
    """Returns in words how a run that is here differs from one that is asked for, or None."""
    before, now = (
        {key: value for key, value in found.get("recipe", {}).items() if key not in apart} for found in (record, asked)
    )
    if before != now:
        return "of another recipe"
    return "on other data" if record.get("data") not in (None, asked["data"]) else None


def _run_all(runs, write):
    """Runs what is not done yet, with a line for each, and calls `write` after each."""
    left = [run for run in runs if not run.is_done]
    if len(left) < len(runs):
        console.print(f"{len(runs) - len(left)} of {len(runs)} runs are here already")
    seconds = {}
    for number, run in enumerate(left, start=len(runs) - len(left) + 1):
        began = time.monotonic()
        title = f"{number}/{len(runs)}  {run.variant.name}, seed {run.asked['seed']}"
        _run_one(run, title)
        seconds[run.variant.name] = time.monotonic() - began
        typical = sum(seconds.values()) / len(seconds)
        rest = sum(seconds.get(later.variant.name, typical) for later in left[len(left) - (len(runs) - number) :])
        outcome = f"{title}  {_outcome(run.record)}  {seconds[run.variant.name]:.0f} s"
        console.print(f"{outcome}  about {_clock(rest)} left" if number < len(runs) else outcome, markup=False)
        if run.is_done:
            write()


def _run_one(run, title):
    before = run.record
    if not os.path.exists(os.path.join(run.job.folder, "manifest.json")):
        before.pop("figures", None)
    elif "figures" not in before:
        shutil.rmtree(run.job.folder)  # It was interrupted after its end and before it was measured.
    kept = {name: before[name] for name in ("figures", "seconds") if name in before}
    records.write({**run.asked, **kept}, run.job.record)
    began = time.monotonic()
    try:
        with console.status(Text(title)) as status:
            ending = processes.run(run.job, lambda line: status.update(Text(f"{title}  {line}")))
    finally:
        record = run.record
        record["seconds"] = record.get("seconds", 0) + time.monotonic() - began
        records.write(record, run.job.record)
    if not {"error", "scores"} & set(record):
        records.write({**record, "error": f"{ending}."}, run.job.record)
    if record.get("concerns_all"):
        raise UserError(record["error"])


def _written(plan, runs, directory, command):
    result = results.of(plan, [run.record for run in runs], directory)
    report.write(result, command)
    return result


def _outcome(record):
    if "error" in record:
        return f"failed: {record['error'].splitlines()[0]}"
    return f"{record['metric']} {sum(record['scores']) / len(record['scores']):.4f}"


def _clock(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
