"""Prompts, completions and conversations, as tables hold them."""

import numpy as np

from kerasft.pipeline._problems import brief, is_missing, row_problems
from kerasft.pipeline._texts import text_problem, written_list

ROLES = ("system", "user", "assistant")


def as_turns(value):
    """Returns a cell of messages, `{"role": …, "content": …}` or a string of such, as pairs; None if it is not that."""
    if isinstance(value, str):
        value = written_list(value)
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    if not all(isinstance(message, dict) and {"role", "content"} <= set(message) for message in value):
        return None
    return [(message["role"], message["content"]) for message in value]


def message_problems(frame, column, with_answers=True):
    """Returns a `Problem` for each row of `column` that is no conversation, or has nothing to learn from."""
    return row_problems(frame, column, (_message_problem(value, with_answers) for value in frame[column]))


def _message_problem(value, with_answers):
    if is_missing(value):
        return "is missing"
    turns = as_turns(value)
    if turns is None:
        return "is not a list of {role: …, content: …}"
    if not turns:
        return "is empty"
    for number, (role, content) in enumerate(turns, start=1):
        if role not in ROLES:
            return f"has the role {brief(role)} in message {number}. The roles are: {', '.join(ROLES)}"
        if text_problem(content):
            return f"has {brief(content)} as message {number}, which is no text"
        if role == "system" and number > 1:
            return f"has a system message in place {number}, which must be the first"
    if with_answers and turns[-1][0] != "assistant":
        return f"ends with a message of the {turns[-1][0]}, not with an answer to learn"
    if not with_answers and turns[-1][0] != "user":
        return f"ends with a message of the {turns[-1][0]}, to which there is nothing to answer"
    return None
