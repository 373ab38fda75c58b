"""`kerasft chat`: a conversation on the terminal."""

import sys

from kerasft.errors import UserError

NEW = "/new"


def talk(tuner, lines):
    """Answers each line, with all that was said before where the model has a chat template, and prints the answers.

    Args:
        tuner: FineTuner of a task that converses. lines: iterable of str, such as `sys.stdin`.

    Raises: UserError for another task.
    """
    if not tuner.task.converses:
        raise UserError(f"This run does not converse; causal_lm does. Received: task={tuner.arguments['task']!r}")
    turns = []
    _ask()
    for line in lines:
        text = line.strip()
        if text == NEW:
            turns = []
        elif text:
            turns.append({"role": "user", "content": text})
            answer = tuner.predict([turns] if tuner.preprocessor.template else [text])["completion"][0]
            # An empty answer cannot stand in a conversation.
            turns = [*turns, {"role": "assistant", "content": answer}] if answer.strip() else turns[:-1]
            print(answer, flush=True)
        _ask()


def _ask():
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
