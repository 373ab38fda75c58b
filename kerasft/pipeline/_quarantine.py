"""Rows that cannot be used: refused, or left out and listed if there are few."""

import collections
import csv

from kerasft.checks import check
from kerasft.pipeline._problems import harmless, origin, refuse, warn


class Quarantine:
    """Takes unusable rows out of tables, as long as they are at most a share of each.

    Args:
        max_bad_rows: float from 0 to 1. Share of a table's rows; with 0 a single one is refused.

    Attributes:
        problems: list of Problem. Those of the rows that were left out so far.

    Raises: UserError if `max_bad_rows` is no such number.
    """

    def __init__(self, max_bad_rows=0.0):
        check("fit", "max_bad_rows", max_bad_rows, 0, 1)
        self.max_bad_rows = max_bad_rows
        self.problems = []

    def admit(self, frame, problems):
        """Returns the table without the rows that have problems, and warns if there are any.

        Raises: UserError, with their number by reason, if they are more than the share, or all there are.
        """
        if not problems:
            return frame
        bad, rows = len({problem.row for problem in problems}), len(frame)
        counts = collections.Counter(problem.kind for problem in problems).most_common()
        # Not times the rows, which would be rounded: 29 of 100 are a share of 0.29.
        if bad / rows > self.max_bad_rows or bad == rows:
            refuse(problems, _heading(frame, bad, f"cannot be used, with max_bad_rows={self.max_bad_rows}", counts))
        warn(problems, _heading(frame, bad, "are left out", counts))
        self.problems += problems
        return without(frame, problems)

    def write(self, path):
        """Writes the problems as CSV: origin, row, column, reason and what was received, safe for spreadsheets."""
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            table = csv.writer(file)
            table.writerow(("origin", "row", "column", "reason", "received"))
            table.writerows([harmless(cell) for cell in problem] for problem in self.problems)


def without(frame, problems):
    """Returns the table without the rows that have problems."""
    return frame[~frame.index.isin([problem.row for problem in problems])]


def _heading(frame, bad, what, counts):
    reasons = "; ".join(f"{kind}: {count:,}" for kind, count in counts[:10])
    more = f"; and {len(counts) - 10:,} reasons more" if len(counts) > 10 else ""
    return f"{origin(frame)}: {bad:,} of {len(frame):,} rows {what} ({reasons}{more})"
