"""Files on disk: what identifies them, written as a whole, and there after a power cut."""

import contextlib
import hashlib
import os


def shown(path):
    """Returns a path as a command takes it: from the working folder on, or absolute if it lies elsewhere."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith(os.pardir) else relative


def sha256(path):
    """Returns the SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replaced(path):
    """Gives a path beside `path` to write to; in the end, but for an error, that file takes its place."""
    partial = f"{os.fspath(path)}.partial"
    yield partial
    os.replace(partial, path)


def flush(path):
    """Has the system write a file, or the names in a folder, to the disk."""
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows does not open folders.
    descriptor = os.open(path, os.O_RDWR if os.path.isfile(path) else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
