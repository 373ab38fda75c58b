"""What a fine-tuning method is: it says which layers learn, stage by stage."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of epochs with one choice of what learns; each begins with its own `compile`.

    Attributes:
        name: str. Shown in the log.
        epochs: int.
        apply: function of the model that sets `trainable` on its layers.
    """

    name: str
    epochs: int
    apply: Callable


class Method:
    """A way to fine-tune. A subclass overrides `apply`, and `stages` if the choice changes on the way.

    Attributes:
        learning_rate: dict. Default peak learning rate of AdamW for each modality.
    """

    learning_rate: ClassVar[dict] = {"text": 5e-5, "image": 5e-4}

    def apply(self, model):
        """Sets `trainable` on the layers of a `FineTunedModel`, before `compile`.

        Freezing acts on layers, not on weights, so that BatchNorm statistics of a frozen layer stand still too.
        """
        raise NotImplementedError

    def stages(self, epochs):
        """Returns the list of `Stage`s that share out `epochs`."""
        return [Stage(type(self).__name__, epochs, self.apply)]
