"""Files that others may have made to do harm: is each refused, with a UserError, before anything happens?

python -m tests.faults.hostile

Each file is opened through kerasft's public entrance for its kind. It must be refused within five seconds, with no file
written outside of its folder, no process and no socket, and with little memory. Files that are odd and harmless must be
read.
"""

import argparse
import collections
import dataclasses
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

from tests import conftest  # noqa: F401  (one thread, before TensorFlow is imported)
from tests.faults import watch

MAX_SECONDS, MAX_MEGABYTES = 5.0, 512


@dataclasses.dataclass(frozen=True)
class Case:
    """A file and what must come of it.

    Attributes:
        name: str. Its id: the format, and what is wrong.
        make: function of a `Whole` and an empty folder, that returns the path of the file or folder to open.
        open: function of that path: the way a user would have it read.
        is_harmless: bool. True if it must be read and not refused.
    """

    name: str
    make: Callable
    open: Callable
    is_harmless: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it; `problem` is empty if that is what must."""

    case: Case
    problem: str
    message: str
    seconds: float
    megabytes: float


def load_run(path):
    import kerasft

    return kerasft.load(path)


def load_backbone(path):
    from kerasft import FineTuner

    task = "text_classification" if path.is_dir() else "image_classification"
    return FineTuner(task, str(path), labels=["a", "b"]).model


def load_data(path):
    from kerasft.data import base

    return base.load(path)


def read_recipe(path):
    from kerasft import recipe

    return recipe.read(path)


def cases():
    """Returns all of them."""
    from tests.faults import (
        hostile_archives,
        hostile_configs,
        hostile_data,
        hostile_hdf5,
        hostile_presets,
        hostile_runs,
    )

    modules = (hostile_archives, hostile_configs, hostile_hdf5, hostile_runs, hostile_presets, hostile_data)
    found = [case for module in modules for case in module.cases()]
    twice = [name for name, count in collections.Counter(case.name for case in found).items() if count > 1]
    if twice:
        raise ValueError(f"Names must differ. Received: {twice}")
    return found


def outcome(case, whole, folder, memory):
    """Opens the file of a case in an empty folder and tells what came of it."""
    from kerasft import UserError

    folder.mkdir()
    path = case.make(whole, folder)
    tempfile.tempdir = str(folder)  # Where Keras unpacks assets.
    before, began, message, problem = memory.restart(), time.monotonic(), "", ""
    with watch.watching(folder) as events:
        try:
            case.open(path)
            problem = "" if case.is_harmless else "it was read"
        except UserError as error:
            message = str(error)
            problem = "it was refused" if case.is_harmless else ""
        except BaseException as error:
            problem = f"{type(error).__name__}: {error}"
    seconds, megabytes = time.monotonic() - began, max(memory.peak, memory.now) - before
    problem = problem or ("" if seconds <= MAX_SECONDS else f"it took {seconds:.1f} s")
    problem = problem or ("" if megabytes <= MAX_MEGABYTES else f"it took {megabytes:,.0f} MB")
    problem = problem or (f"it did {events[:3]}" if events else "")
    problem = problem or ("the canary is there" if list(folder.parent.rglob("canary*")) else "")
    problem = problem or ("" if case.is_harmless or "Received: " in message else f"it says: {message}")
    tempfile.tempdir = None
    shutil.rmtree(folder)
    return Outcome(case, problem, message, seconds, megabytes)


def warm_up(whole):
    """Opens every whole file, so that no case pays for imports."""
    from kerasft import UserError

    load_run(whole.run)
    for path in (whole.keras, whole.h5, whole.preset, whole.hugging_face):
        try:
            load_backbone(path)
        except UserError:
            if path != whole.hugging_face:  # Its weights have other names than a BERT's.
                raise


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names of the cases to open")
    parser.add_argument("--messages", action="store_true", help="print what each is refused with")
    options = parser.parse_args(arguments)
    from tests.faults.whole import Whole

    memory = watch.Memory()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        whole = Whole(folder / "whole")
        warm_up(whole)
        outcomes = []
        for case in cases():
            if options.only in case.name:
                outcomes.append(outcome(case, whole, folder / "case", memory))
                if options.messages:
                    print(f"{case.name}: {outcomes[-1].message.replace(scratch, '…')}")
    _print(outcomes)
    sys.exit(any(found.problem for found in outcomes))


def _print(outcomes):
    groups = collections.defaultdict(list)
    for found in outcomes:
        groups[found.case.name.partition(": ")[0]].append(found)
    print(f"{'format':<16}{'files':>7}{'refused':>9}{'read, as must':>15}{'failed':>8}{'slowest, s':>12}{'most MB':>9}")
    for name, group in (*groups.items(), ("all", outcomes)):
        harmless = sum(found.case.is_harmless and not found.problem for found in group)
        failed = sum(bool(found.problem) for found in group)
        slowest, most = max(found.seconds for found in group), max(found.megabytes for found in group)
        refused = len(group) - harmless - failed
        print(f"{name:<16}{len(group):>7}{refused:>9}{harmless:>15}{failed:>8}{slowest:>12.2f}{most:>9.0f}")
    for found in outcomes:
        if found.problem:
            print(f"FAILED {found.case.name}: {found.problem}")


if __name__ == "__main__":
    main()
