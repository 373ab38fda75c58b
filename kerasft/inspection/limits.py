"""How much a file may declare, and the words for one that declares more."""

import os

from kerasft.errors import UserError

# No model of ours is refused by these; a file that exceeds one was not written by Keras.
FLOOR_BYTES = 64 * 2**20
EXPANSION = 4
ENTRIES = 10_000
NAME_LENGTH = 1_000


def declared_bytes(stored):
    """Returns how many bytes may come out of a file of `stored` bytes."""
    return max(FLOOR_BYTES, EXPANSION * stored)


def refused(origin, problem, received):
    """Returns the UserError that says what is wrong with a file, in one line however long the value is."""
    shown = received if isinstance(received, str) else repr(received)
    shown = shown.encode("unicode_escape").decode("ascii")
    return UserError(f"{os.fspath(origin)}: {problem}. Received: {shown if len(shown) <= 200 else f'{shown[:199]}…'}")


def check_file(path, what):
    """Raises UserError unless `path` is a regular file; `what` names it in the message.

    A pipe would block for ever, and a device such as `/dev/zero` has no end.
    """
    if not os.path.isfile(path):
        raise UserError(f"There is no {what} here. Received: {os.fspath(path)!r}")
