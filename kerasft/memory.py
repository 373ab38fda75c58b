"""How much memory there is, and how much this process has had."""

import os
import re
import sys
import threading
from pathlib import Path

SECONDS = 0.002  # Between two looks at what is used.
CONTAINER = Path("/sys/fs/cgroup")


def free():
    """Returns the bytes that are free and all there are, as a pair; None where the system does not say (not Linux).

    In a container they are those of its limit.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    available, total = (int(re.findall(rf"{name}:\s+(\d+)", lines)[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    limit, taken, of_files = map(_of_container, ("memory.max", "memory.current", "memory.stat"))
    if limit is None or taken is None or limit > total:
        return available, total
    return min(available, max(limit - taken + (of_files or 0), 0)), limit


def used():
    """Returns the bytes that this process has in memory now; where the system does not say, the greatest ever."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    except OSError:
        return peak()
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def peak():
    """Returns the greatest number of bytes that this process has had in memory; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows.
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Watch:
    """Within a `with`, notes the greatest number of bytes that this process has in memory, in `most`.

    The system's peak is of the whole life of the process and hides all that is lower: this looks again and again.
    """

    def __enter__(self):
        self.before, self.most, self.is_over = peak(), used(), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        if peak() > self.before:
            self.most = max(self.most, peak())

    def _look(self):
        while not self.is_over.wait(SECONDS):
            self.most = max(self.most, used())


def _of_container(name):
    """Returns what Linux notes of this container (control groups, version 2), of `memory.stat` the cache, or None."""
    try:
        return int(re.findall(r"\A\d+|(?<=^inactive_file )\d+", (CONTAINER / name).read_text("utf-8"), re.MULTILINE)[0])
    except (OSError, IndexError):  # "max": no limit.
        return None
