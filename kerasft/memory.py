"""How much memory there is, and how much this process has had."""

import re
import sys
from pathlib import Path


def free():
    """Returns the bytes that are free and all there are, as a pair; None where the system does not say (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    available, total = (int(re.findall(rf"{name}:\s+(\d+)", lines)[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return available, total


def peak():
    """Returns the greatest number of bytes that this process has had in memory; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows.
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
