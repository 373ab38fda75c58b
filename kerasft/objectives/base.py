"""What an objective is: a term that is added to the task's loss while training."""

from typing import ClassVar


class Objective:
    """One loss term beyond the task's. A subclass is one file and overrides `__call__`, and `attach` if it needs to.

    The term is added to the loss while training, never while validating, and shown under its name. Weigh it inside.

    Attributes:
        name: str. Of the term in `History` and TensorBoard; two objectives of a model differ in it.
    """

    name: ClassVar[str]

    def attach(self, model):
        """Looks at the `FineTunedModel` before each stage, when what learns is chosen and nothing has moved yet.

        Called within the scope of the strategy, outside of any graph: the place to create variables.
        """

    def __call__(self, model, x, y, y_pred):
        """Returns the term, a scalar float32 tensor: on several replicas, the mean over this replica's rows.

        Args:
            model: FineTunedModel.
            x: the model's inputs of this batch, with their usual structure. y: its targets.
            y_pred: the model's outputs for `x`, computed with `training=True`.
        """
        raise NotImplementedError
