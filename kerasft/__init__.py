"""kerasft: fine-tunes pretrained models the Keras way.

Importing it imports neither TensorFlow nor Keras; they come with the first use of a name below.
"""

import importlib

__version__ = "0.1.0"

_HOME = {"FineTuner": "kerasft.fine_tuner", "load": "kerasft.fine_tuner", "UserError": "kerasft.errors"}
_FOLDERS = ("callbacks", "losses", "methods", "metrics", "objectives", "optimizers", "schedules", "tasks")

__all__ = [*_HOME, *_FOLDERS, "__version__"]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _FOLDERS:
        return importlib.import_module(f"kerasft.{name}")
    raise AttributeError(f"module 'kerasft' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
