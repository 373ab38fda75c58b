"""Runs each job in a process of its own: memory and time are its own, and a crash ends nothing else."""

import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing import connection
from typing import Any

POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a variant with a seed.

    Attributes:
        folder: str. The run folder. Beside it lie `<folder>.json`, what is known of the run, and `<folder>.log`.
        recipe: dict. Arguments of `FineTuner` and `fit`, data in memory included.
        test: data to score on.
    """

    folder: str
    recipe: dict
    test: Any

    @property
    def record(self):
        return f"{self.folder}.json"

    @property
    def log(self):
        return f"{self.folder}.log"


def run(job, show):
    """Runs a job to its end and returns in words how its process ended.

    Args:
        job: Job.
        show: function that is called twice a second with the latest line that the job printed.
    """
    # Not `fork`: TensorFlow does not survive it, and the child would begin with the parent's memory.
    process = multiprocessing.get_context("spawn").Process(target=_enter, args=(job,))
    process.start()
    try:
        while process.is_alive():
            process.join(POLL_SECONDS)
            show(last_line(job.log))
    finally:
        if process.is_alive():
            process.terminate()
            process.join()
    return _ending(process.exitcode)


def last_line(path):
    """Returns the last line of a log that is not empty, or an empty string."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 2000))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _enter(job):
    began = time.monotonic()
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, which asks once: a second signal would end this at once.
    with open(job.log, "a", encoding="utf-8") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    from kerasft.compare import run_job  # Not above: TensorFlow's greeting belongs into the log.

    sys.exit(run_job.main(job, began))


def _leave_with_parent():
    """Ends the process when the one that waits for it is killed: nobody would know that it still trains."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _ending(exit_code):
    if exit_code >= 0:
        return f"The process ended with exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    name = names.get(-exit_code, f"signal {-exit_code}")
    return f"The process was ended by {name}" + (", as happens when memory runs out" if name == "SIGKILL" else "")
