"""Arguments of plug-ins: what is allowed, said in one way."""

import numbers

from kerasft.errors import UserError


def check(owner, name, value, low, high=float("inf"), low_is_allowed=True):  # noqa: PLR0913
    """Raises UserError, with the names of plug-in and argument, unless `value` is a number from `low` to `high`."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_number and (low <= value if low_is_allowed else low < value) and value <= high:
        return
    bounds = f"{low} or more" if low_is_allowed else f"above {low}"
    bounds += "" if high == float("inf") else f" and {high} at most"
    raise UserError(f"{owner}: {name} must be {bounds}. Received: {name}={value!r}")


def check_below_one(owner, name, value, low_is_allowed=True):
    """Raises UserError unless `value` is a number from 0 to below 1."""
    check(owner, name, value, 0, low_is_allowed=low_is_allowed)
    if value >= 1:
        raise UserError(f"{owner}: {name} must be below 1. Received: {name}={value!r}")


def check_whole(owner, name, value, low=1):
    """Raises UserError unless `value` is a whole number, `low` or more."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise UserError(f"{owner}: {name} must be a whole number, {low} or more. Received: {name}={value!r}")


def check_name(owner, name, value, allowed):
    """Raises UserError unless `value` is one of the words `allowed`."""
    if value not in allowed:
        raise UserError(f"{owner}: {name} must be one of {', '.join(allowed)}. Received: {name}={value!r}")
