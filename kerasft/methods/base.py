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
        learning_rate: float or None. Peak; None is that of the run.
        continues: bool. True to go on with the schedule and the optimizer's state of the stage before.
        factors: dict or None. What `Method.rates` returns, for this stage alone; None is what it returns.
    """

    name: str
    epochs: int
    apply: Callable
    learning_rate: float | None = None
    continues: bool = False
    factors: dict | None = None


class Method:
    """A way to fine-tune. A subclass overrides `apply`, and `stages` if the choice changes on the way.

    One that trains weights of its own makes them in `attach`, as `kerasft.deltas`, and applies `deltas.train_only`.

    Attributes:
        learning_rate: dict. Default peak learning rate of AdamW for each modality that the method works with.
        starts_as_pretrained: bool. False if already before the first step the backbone's outputs are not those that it
            was pretrained to give.
        shares_base: bool. False if the backbone's weights are no longer those that another method could start from.
    """

    learning_rate: ClassVar[dict] = {"text": 5e-5, "image": 5e-4}
    starts_as_pretrained = True
    shares_base = True

    def prepare(self, preprocessor):
        """Makes room in the inputs for what the method puts there itself; called once, before any data are read."""

    def attach(self, model):
        """Adds weights to a `FineTunedModel`, once, within the scope of the strategy and before any are loaded."""

    def apply(self, model):
        """Sets `trainable` on the layers of a `FineTunedModel`: all that learns in any stage, and so is saved.

        Freezing acts on layers, not on weights, so that BatchNorm statistics of a frozen layer stand still too.
        """
        raise NotImplementedError

    def stages(self, model, epochs):
        """Returns the list of `Stage`s that share out `epochs`."""
        return [Stage(type(self).__name__, epochs, self.apply)]

    def rates(self, model):
        """Returns `{path: factor}` of the weights whose learning rate is not the run's, but that times a factor.

        Paths are those of `kerasft.weights.by_path`.
        """
        return {}
