"""Checkpoints on disk: each whole or not at all, and each verified when it is read."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import warnings
from typing import Any

import numpy as np

from kerasft import files
from kerasft.errors import UserError

FORMAT = 1
STATE, MANIFEST = "state.safetensors", "manifest.json"
NAME = re.compile(r"step-(\d+)")
PIECE = 4 << 20  # Bytes that are hashed and written at once.


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint that was found whole.

    Attributes:
        path: str. Its folder.
        words: Any. What JSON can hold.
        arrays: dict. NumPy arrays by name, read when they are asked for.
    """

    path: str
    words: Any
    arrays: Any


class Store:
    """The checkpoints of a run: folders `step-<number>` with `state.safetensors` and `manifest.json`.

    A checkpoint is written beside the others, flushed to the disk and then renamed, so whatever happens meanwhile, it
    is there as a whole or not at all. The manifest has the file's SHA-256 and its own. Old checkpoints are removed
    when a new one is in place; which is the newest is told by the number alone, not by clocks.

    Args:
        directory: str.
        keep: int, 1 or more. How many to keep: if the newest is damaged, the one before is taken.
    """

    def __init__(self, directory, keep=2):
        self.directory = directory
        self.keep = keep
        self.writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing = None

    def save(self, number, arrays, words):
        """Writes a checkpoint; while it gets to the disk, and its name, the caller goes on.

        The arrays may be in the memory of what is trained: they are read when this returns. A copy of all weights and
        moments could take more memory than a step of training.

        Args:
            number: int. Greater than those before, or that of one to replace.
            arrays: dict of NumPy arrays. words: what JSON can hold.

        Raises: UserError if this or the checkpoint before could not be written; those before that stay as they are.
        """
        self.wait()
        size = sum(array.nbytes for array in arrays.values())
        with self._written(number, size) as partial:
            os.makedirs(self.directory, exist_ok=True)
            self._remove_leftovers()
            os.mkdir(partial)
            written = _write_state(partial, arrays, json.dumps(words, default=float))
        self.writing = self.writer.submit(self._finish, number, *written)

    def wait(self):
        """Returns when nothing is being written any more. Raises UserError if the last checkpoint failed."""
        writing, self.writing = self.writing, None
        if writing:
            writing.result()

    def newest(self):
        """Returns the newest checkpoint that is whole as `Saved`, or None if there is none at all.

        Warns of newer ones that are damaged.

        Raises: UserError if all are damaged.
        """
        self.wait()
        numbers = self.numbers()
        problems = []
        for number in reversed(numbers):
            try:
                saved = _read(self.path(number), number)
            except UserError as error:
                problems.append(str(error))
                continue
            if problems:
                warnings.warn(f"{'; '.join(problems)}. Going on from {saved.path}, the one before.", stacklevel=2)
            return saved
        if numbers != self.numbers():  # Another process wrote newer ones meanwhile, and removed these.
            return self.newest()
        if problems:
            raise UserError(f"No checkpoint is whole: {'; '.join(problems)}. Received: {self.directory!r}")
        return None

    def numbers(self):
        """Returns the numbers of all checkpoints, the newest last."""
        found = os.listdir(self.directory) if os.path.isdir(self.directory) else ()
        return sorted(int(match[1]) for match in map(NAME.fullmatch, found) if match)

    def path(self, number):
        """Returns the folder of the checkpoint of this number."""
        return os.path.join(self.directory, f"step-{number:010d}")

    def close(self):
        """Ends the writing; a checkpoint that is on its way is finished. Raises UserError if it failed."""
        try:
            self.wait()
        finally:
            self.writer.shutdown()

    def clear(self):
        """Removes all checkpoints."""
        self.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _finish(self, number, size, digest):
        """Flushes what was written to the disk and gives it its name."""
        path = self.path(number)
        with self._written(number, size) as partial:
            _flush_and_forget(os.path.join(partial, STATE))
            _write_manifest(partial, number, size, digest)
            if os.path.exists(path):
                shutil.rmtree(path)
            os.rename(partial, path)
            files.flush(self.directory)
            for old in self.numbers()[: -self.keep]:
                shutil.rmtree(self.path(old))

    @contextlib.contextmanager
    def _written(self, number, size):
        """Gives the folder that a checkpoint is written to, and removes it if that fails, in words of the user's."""
        partial = f"{self.path(number)}.partial"
        try:
            yield partial
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise UserError(
                f"The checkpoint could not be written ({error}). It needs {size / 1e6:,.1f} MB"
                f"{_free(self.directory)}. Those before stay: with room, the same call goes on. "
                f"Received: {self.directory!r}"
            ) from error

    def _remove_leftovers(self):
        for name in os.listdir(self.directory):
            if name.endswith(".partial"):
                shutil.rmtree(os.path.join(self.directory, name))


def of_run(directory):
    """Returns the `Store` in a run folder."""
    return Store(os.path.join(directory, "checkpoint"))


def _write_state(folder, arrays, words):
    """Writes the arrays as a safetensors file; returns its size and SHA-256.

    The library would write as fast, but the file had to be read again for its digest.
    """
    header, size = {"__metadata__": {"words": words}}, 0
    for name, array in arrays.items():
        begin, size = size, size + array.nbytes
        header[name] = {"dtype": _type(array.dtype), "shape": array.shape, "data_offsets": [begin, size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(os.path.join(folder, STATE), "wb") as file:
        for content in (len(text).to_bytes(8, "little"), text, *map(_bytes, arrays.values())):
            for begin in range(0, len(content), PIECE):
                piece = content[begin : begin + PIECE]
                digest.update(piece)
                file.write(piece)
        return file.tell(), digest.hexdigest()


def _flush_and_forget(path):
    """Has a file be on the disk, and not in the system's memory, where it would displace what the training reads."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _type(dtype):
    """Returns what safetensors calls a type of NumPy."""
    return {"bool": "BOOL", "bfloat16": "BF16"}.get(dtype.name, f"{dtype.kind.upper()}{8 * dtype.itemsize}")


def _write_manifest(folder, number, size, digest):
    """Writes the manifest, which ends what is in the folder, and flushes both to the disk."""
    manifest = os.path.join(folder, MANIFEST)
    with open(manifest, "w", encoding="utf-8") as file:
        file.write(_text({"format": FORMAT, "number": number, "bytes": size, "sha256": digest}))
    for path in (manifest, folder):
        files.flush(path)


def _text(own):
    """Returns a manifest as it is written: `own` and the SHA-256 of it, so that a change of any bit is seen."""
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
    return json.dumps({**own, "manifest": digest}, sort_keys=True)


def _read(path, number):
    """Returns a checkpoint as `Saved`. Raises UserError, in words that go on, if it is not whole."""
    from safetensors import SafetensorError, safe_open

    manifest, state = os.path.join(path, MANIFEST), os.path.join(path, STATE)
    try:
        with open(manifest, "rb") as file:
            found = file.read(10_000)
        own = json.loads(found)
        own.pop("manifest")
        if found != _text(own).encode():
            raise UserError(f"{manifest} was changed")
        if own["format"] != FORMAT:
            raise UserError(f"{manifest} is of format {own['format']}, this kerasft reads {FORMAT}")
        if own["number"] != number:
            raise UserError(f"{path} was renamed: it is that of step {own['number']}")
        if os.path.getsize(state) != own["bytes"] or files.sha256(state) != own["sha256"]:
            raise UserError(f"{state} was changed")
        opened = safe_open(state, framework="numpy")
        return Saved(path, json.loads(opened.metadata()["words"]), _Arrays(opened))
    except UserError:
        raise
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{manifest} was changed") from error


class _Arrays:
    """A read-only mapping of names to the arrays of an open safetensors file."""

    def __init__(self, file):
        self.file, self.names = file, set(file.keys())

    def __contains__(self, name):
        return name in self.names

    def __getitem__(self, name):
        return self.file.get_tensor(name)


def _free(directory):
    with contextlib.suppress(OSError):
        return f", {shutil.disk_usage(os.path.dirname(directory) or '.').free / 1e6:,.1f} MB are free"
    return ""
