"""Where downloads and what was computed once are kept."""

import contextlib
import os
from pathlib import Path

_elsewhere: list[Path] = []


@contextlib.contextmanager
def elsewhere(path):
    """Has another folder in the place of the cache for a while: for a trial that shall leave nothing behind."""
    _elsewhere.append(Path(path))
    try:
        yield
    finally:
        _elsewhere.pop()


def folder():
    """Returns the cache folder: `KERASFT_HOME`, or `~/.cache/kerasft`."""
    if _elsewhere:
        return _elsewhere[-1]
    return Path(os.environ.get("KERASFT_HOME") or Path.home() / ".cache" / "kerasft").expanduser()
