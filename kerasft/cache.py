"""Where downloads and what was computed once are kept."""

import contextlib
import os
import shutil
from pathlib import Path

SHARE = 0.2  # Of the disk that is free, for the arrays of one kind of all runs; the oldest make room.

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


@contextlib.contextmanager
def written(path):
    """Gives a binary file to write, which is `path` in the end, unless an error comes; others may write the same."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def make_room(folder, size):
    """Makes room for so many bytes of arrays, those longest unread first. Raises OSError if the disk has too little."""
    found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.npy"))
    taken = sum(size for _, size, _ in found)
    limit = SHARE * (shutil.disk_usage(folder).free + taken)
    if size > limit:
        raise OSError(f"{size / 1e6:,.0f} MB are more than a fifth of the disk's free {limit / SHARE / 1e6:,.0f} MB")
    for _, freed, path in found:
        if taken + size <= limit:
            break
        taken -= freed
        path.unlink(missing_ok=True)
