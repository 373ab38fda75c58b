"""Texts as tables hold them, and lists that are written as text."""

import ast
import json
import re

from kerasft.pipeline._problems import is_missing, row_problems

NO_LIST = "has the brackets of a list and is none: texts need quotes, and a comma between two"

_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_JOINED = re.compile(r"''\s*\w*''")
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)  # What odd or deep text may raise.


def text_problems(frame, column):
    """Returns a `Problem` for each row of `column` that is not usable text."""
    return row_problems(frame, column, map(text_problem, frame[column]))


def text_problem(value):
    """Returns what is wrong with a text, or None."""
    if not isinstance(value, str):
        return "is missing" if is_missing(value) else "is not a string"
    if not value.strip():
        return "is blank" if value else "is empty"
    if "\0" in value:
        return "holds a NUL character"
    if not value.isascii() and _SURROGATE.search(value):
        return "holds half of a surrogate pair, which no encoding can write"
    return None


def has_brackets(text):
    """Returns whether a text begins and ends as a list does."""
    text = text.strip()
    return text.startswith("[") and text.endswith("]")


def written_list(text):
    """Returns the list that a text is, in JSON or as Python prints one, or None if it is none."""
    try:
        value = json.loads(text)
    except _UNREADABLE:
        value = _printed_list(text)
    return value if isinstance(value, list) else None


def _printed_list(text):
    # NumPy prints no commas, and two strings without one between them are a single string to Python.
    if not has_brackets(text) or _JOINED.search(_QUOTED.sub("''", text)):
        return None
    try:
        value = ast.literal_eval(text.strip())
    except _UNREADABLE:
        return None
    return value if all(isinstance(item, (str, int, float, dict)) for item in value) else None
