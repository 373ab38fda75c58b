"""The one error that means: the user can mend this."""

import contextlib


class UserError(ValueError):
    """Input that cannot be used as it is.

    The message says what is wrong, where (file, row, key), what is allowed, and ends with
    `Received: …`. The command line prints it without a traceback and leaves with exit code 2.
    """


class Diverged(UserError):
    """Training whose loss or weights are no longer numbers."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the training to stop, and its state is saved.

    The command line leaves with exit code 75, by convention that of a temporary failure: the same command goes on.
    """


def nearest(name, allowed):
    """Returns ` Did you mean 'x'?` for the closest of `allowed`, or an empty string."""
    import difflib

    names = {str(item).lower(): str(item) for item in allowed}
    close = difflib.get_close_matches(str(name).lower(), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


@contextlib.contextmanager
def guarded(what, end):
    """Raises a UserError in place of whatever error comes up meanwhile: a file can make a library fail in any way.

    Args:
        what: str. The start of the message, such as `"Keras cannot build this model"`.
        end: str. Its end, with `Received: …`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split("\n")[:3]).strip()[:500] or type(error).__name__
        raise UserError(f"{what}: {reason} {end}") from error
