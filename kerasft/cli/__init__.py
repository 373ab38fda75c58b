"""The command line: `main` is the entry point, `commands.py` holds the commands."""

import gc
import os
import sys
import traceback

from kerasft.errors import UserError

OBJECTS = 100_000  # Made between two looks for garbage. TensorFlow and a traced graph make millions, which stay.


def main():
    """Runs a command and leaves with 0, 2 for what the user can mend, 130 after Ctrl-C, 1 for the rest."""
    gc.set_threshold(OBJECTS)
    from kerasft.cli.commands import app

    arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
    if len(arguments) < len(sys.argv) - 1:
        os.environ["KERASFT_TRACEBACK"] = "1"
    try:
        app(arguments, prog_name="kerasft")
    except SystemExit as leaving:
        if leaving.code == 130:
            print("\nInterrupted. The same fit, search or compare command goes on where it was.", file=sys.stderr)
        raise
    except Exception as error:
        sys.exit(_report(error))


def _report(error):
    """Says on standard error what is wrong, in the user's words, and returns the exit code."""
    if os.environ.get("KERASFT_TRACEBACK", "") not in ("", "0"):
        traceback.print_exception(error)
    elif isinstance(error, UserError):
        print(f"Error: {error}", file=sys.stderr)
    else:
        first_line = str(error).strip().partition("\n")[0][:300]
        print(
            f"Unexpected error: {type(error).__name__}: {first_line}\n"
            "Run the same command with --traceback to see where it came from. If recipe and data are right, report "
            "it with what `kerasft doctor` prints.",
            file=sys.stderr,
        )
    return 2 if isinstance(error, UserError) else 1
