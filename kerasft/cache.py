"""Where downloads and what was computed once are kept."""

import os
from pathlib import Path


def folder():
    """Returns the cache folder: `KERASFT_HOME`, or `~/.cache/kerasft`."""
    return Path(os.environ.get("KERASFT_HOME") or Path.home() / ".cache" / "kerasft").expanduser()
