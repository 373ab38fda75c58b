"""What tasks share that learn which token is right among all of a vocabulary."""

from typing import Any, ClassVar

import numpy as np

from kerasft import registry
from kerasft.tasks._text import TextInputs


class LanguageTask(TextInputs):
    """Tokens are what is learned. A subclass says which, and gives the head that goes with the loss."""

    evaluation: ClassVar[str] = "language"
    monitor: ClassVar[tuple[str, str]] = ("val_loss", "min")
    answers_rows: ClassVar[bool] = False
    scores_tokens: ClassVar[bool] = True
    head_class: Any

    def targets(self, frame):
        """Returns nothing for each row, `(rows, 0)`: what is right is in the examples, token by token."""
        return np.zeros((len(frame), 0), "float32")

    def head(self, pretrained):
        self.next_token = registry.find("losses", "next_token")(pretrained.backbone.token_embedding)
        return self.head_class(self.next_token)

    def loss(self):
        return self.next_token

    def metrics(self):
        return []
