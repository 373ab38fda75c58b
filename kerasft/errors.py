"""The one error that means: the user can mend this."""


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
