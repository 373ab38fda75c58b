"""JSON of moderate size: no key twice, no number that is none, no nesting that would exhaust the stack."""

import json
import math

from kerasft.inspection.limits import check_file, refused

MAX_BYTES = 64 * 2**20  # The largest that is read is a tokenizer of Hugging Face's, 35 MB.
CONFIG_BYTES = 16 * 2**20  # 10,000 layers of Keras; each takes far longer to build than to parse.
MAX_DEPTH = 100
MAX_DIGITS = 40  # Hugging Face writes a text without limit as 1000000000000000019884624838656.


def read(path, max_bytes=MAX_BYTES, allow_nan=False):
    """Returns the value in a JSON file.

    Args:
        path: path.
        max_bytes: int.
        allow_nan: bool. True for what may hold a loss that diverged, which Python writes as `NaN` and `Infinity`.

    Raises: UserError if there is no such file, or `parse` refuses it.
    """
    check_file(path, "JSON file")
    with open(path, "rb") as file:
        return parse(file.read(max_bytes + 1), path, max_bytes, allow_nan)


def parse(encoded, origin, max_bytes=CONFIG_BYTES, allow_nan=False):
    """Returns the value of JSON in UTF-8 bytes or a string. Raises UserError that begins with `origin`."""
    if len(encoded) > max_bytes:
        raise refused(origin, f"this JSON may have {max_bytes:,} bytes at most", "more")
    try:
        return loads(encoded, allow_nan)
    except ValueError as error:
        raise refused(origin, f"not JSON as kerasft reads it: {error}", _beginning(encoded)) from None


def loads(encoded, allow_nan=False):
    """Returns the value of JSON in UTF-8 bytes or a string. Raises ValueError for what this module's first line says.

    Of two equal keys Python would take the last, other readers the first: a check and its user could see two values.
    """
    text = encoded if isinstance(encoded, str) else encoded.decode()
    constant = float if allow_nan else _refuse_constant
    number = float if allow_nan else _finite
    try:
        value = json.loads(
            text, object_pairs_hook=_distinct, parse_constant=constant, parse_int=_integer, parse_float=number
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deep(value):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def _beginning(encoded):
    return encoded[:80] if isinstance(encoded, str) else encoded[:80].decode(errors="replace")


def _distinct(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _integer(digits):
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite(digits):
    if math.isinf(value := float(digits)):
        raise ValueError("a number is too large")
    return value


def _is_deep(value):
    """Walks level by level: recursion is what a nested value is meant to exhaust."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, (dict, list))]
        if not containers:
            return False
        level = [part for item in containers for part in (item.values() if isinstance(item, dict) else item)]
    return True
