import numpy as np
import pytest

from kerasft.cli import chat
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner


class Parrot:
    """Stands for a tuner: it says how many messages it was asked, and what the last one says."""

    def __init__(self, template="chatml"):
        self.task = self.preprocessor = self
        self.converses, self.template = True, template

    def predict(self, inputs):
        (asked,) = inputs
        said = asked if isinstance(asked, str) else f"{len(asked)} {asked[-1]['content']}"
        return {"completion": np.array([said if "nothing" not in said else ""], dtype=object)}


@pytest.mark.parametrize(
    ("template", "expected"),
    [("chatml", ["1 hello", "3 and now", "1 again", "", "3 more"]), (None, ["hello", "and now", "again", "", "more"])],
)
def test_it_remembers_what_was_said_until_it_is_told_not_to(template, expected, capsys):
    chat.talk(Parrot(template), ["hello\n", "  \n", "and now\n", "/new\n", "again\n", "nothing\n", "more\n"])
    assert capsys.readouterr().out.splitlines() == expected


def test_another_task_is_refused(make_tiny):
    with pytest.raises(UserError, match="does not converse; causal_lm does. Received: task='text_classification'"):
        chat.talk(FineTuner("text_classification", make_tiny("bert"), labels=["a", "b"]), [])
