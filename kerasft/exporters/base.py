"""Numbered version folders, as TensorFlow Serving wants them: written whole or not at all."""

import contextlib
import os
import re
import tempfile

from kerasft.errors import UserError


@contextlib.contextmanager
def version_folder(path):
    """Gives the name of a folder to make and fill; it becomes `path` at the end, and is gone if the block fails.

    A server that watches the parent folder sees the version appear complete: until then its name is no number.

    Args:
        path: str. Such as `"saved_models/reviews/1"`. Its parent is made.

    Raises: UserError if the last part of `path` is no number, if it exists, or if its parent cannot be written to.
    Example: >>> with version_folder("saved_models/reviews/1") as folder: tf.saved_model.save(module, folder)
    """
    version = os.path.basename(os.path.abspath(path))
    _check(path, version)
    with _temporary(path, version) as temporary:
        # One level below, because the temporary folder itself is closed to other users, such as the server's.
        folder = os.path.join(temporary, version)
        yield folder
        os.rename(folder, path)


@contextlib.contextmanager
def new_folder(path):
    """Gives the name of a folder to fill, which becomes `path` at the end, and is gone if the block fails.

    Raises: UserError if `path` exists, or if its parent cannot be written to.
    """
    if os.path.lexists(path):
        raise UserError(f"There is something already; choose another folder. Received: path={path!r}")
    with _temporary(path, "export") as temporary:
        folder = os.path.join(temporary, "folder")
        os.mkdir(folder)
        yield folder
        os.rename(folder, path)


def model_name(path):
    """Returns what a server calls the model in this version folder: its parent's name, or the run's for `export/`.

    Example: >>> model_name("saved_models/reviews/1"), model_name("saved_models/reviews/export/1")
        ('reviews', 'reviews')
    """
    grandparent, parent, _ = ["", *os.path.abspath(path).split(os.sep)][-3:]
    return grandparent if parent == "export" and grandparent else parent


def requests(tuner):
    """Returns arrays of the exported signature's inputs, by name, for the rows that a run keeps as samples.

    If it has none, for unusual ones.
    """
    return tuner.task.request(tuner.task.edge_cases() if tuner.samples is None else tuner.samples)


def _temporary(path, name):
    """Returns a temporary folder beside `path`, whose parent is made, as a context manager."""
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{name}.", suffix=".partial", dir=parent)
    except OSError as error:
        raise UserError(f"Cannot write there: {error.strerror}. Received: path={path!r}") from error


def _check(path, version):
    if not re.fullmatch(r"[0-9]{1,18}", version):
        raise UserError(
            "The last part of the path must be a version number: TensorFlow Serving looks in a model's folder for "
            "numbered folders and serves the highest, so that a new version replaces the old one while it runs. "
            f"Such as {os.path.join(path, '1')!r}. Received: path={path!r}"
        )
    if os.path.lexists(path):
        raise UserError(f"There is something already; give the next number. Received: path={path!r}")
