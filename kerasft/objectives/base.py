"""What an objective is: what is minimised beyond the task's loss, and how."""

import contextlib
from typing import Any, ClassVar

from kerasft.errors import UserError


def check_objectives(objectives, task):
    """Raises UserError, before anything is loaded, for objectives of one name, or one that does not go with a task."""
    names = [objective.name for objective in objectives]
    if len(set(names)) < len(names):
        raise UserError(f"Objectives must have different names. Received: objectives={names}")
    for objective in objectives:
        objective.check(task)


def are_rows_apart(task, objectives):
    """Returns whether a row counts by itself, so that a batch may be computed in parts."""
    return all(part.rows_apart for part in (task, *objectives))


class Objective:
    """A change of what a training step minimises. A subclass is one file and overrides one or two of the hooks below.

    A step, with everything in it left to Keras that is not named here, is

        with forward(model, x, y) as x:                     # neftune, mixup
            outputs = model(x, training=True)
            rows = loss(task_loss, y, outputs)              # label_smoothing, focal, mixup
            total = mean(rows) + mean(objective(model, x, y, outputs))  # l2_sp, r_drop, adversarial, distillation
        gradients(…)                                        # sam, mixout

    Objectives of a model wrap each other in the order given. None of them takes part in validation. What `loss` changes
    and what a call returns make the term that is shown under the objective's name: the loss shown is the task's and all
    terms.

    A step is traced once, on several replicas in a thread each: what one hook leaves for another must be kept in a
    `threading.local`.

    Attributes:
        name: str. In `History` and TensorBoard; two objectives of a model differ in it.
        rows_apart: bool. Whether what it makes of a row is the row's own, so that a batch may be computed in parts.
        mixes: bool. True if `forward` makes rows out of several and `loss` scores them by the targets of each.
        has_term: bool. False for an objective that overrides neither `loss` nor the call, and has nothing to show.
        needs_classes: bool. True if it reads the outputs as logits of classes.
        needs_rows: bool. True if it takes the outputs for one answer a row.
        changes_tokens: bool. True if it changes embedded tokens, of which there must be one kind: those of an encoder
            with a decoder are embedded by the same layer.
        takes_features: bool. True if it leaves alone the model's inputs and what frozen layers make of them, so that
            this may be computed once, for all epochs.
        has_file_of_rows: bool. True if it reads a file with an entry for each training example, in their order.
        extra: None, or what a step needs beside its batch: an object with `signature` (`tf.TensorSpec`s),
            `gather(rows)` (arrays for these row numbers of the training data) and `finish(tensors)`, in the graph.
    """

    name: ClassVar[str]
    rows_apart: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    has_term: ClassVar[bool] = True
    needs_classes: bool = False
    needs_rows: ClassVar[bool] = False
    changes_tokens: ClassVar[bool] = False
    takes_features: bool = False
    has_file_of_rows: bool = False
    extra: Any = None

    def check(self, task):
        """Raises UserError, before anything is loaded, if it does not go with a task."""
        if self.needs_classes and not task.has_classes:
            raise UserError(f"{self.name} needs a task whose answers are classes. Received: task={type(task).__name__}")
        if self.needs_rows and not task.answers_rows:
            raise UserError(f"{self.name} needs a task with one answer a row. Received: task={type(task).__name__}")
        if self.changes_tokens and task.is_encoder_decoder:
            raise UserError(f"{self.name} needs an encoder or a decoder alone. Received: task={type(task).__name__}")

    def prepare(self, tuner, frame):
        """Reads what the objective needs, before the model is compiled; called once in each `fit`.

        Args:
            tuner: the FineTuner, with `task`, `preprocessor` and `load(directory)`.
            frame: the training examples, as the task has prepared them.

        Raises: UserError if it cannot be had, or does not go with the task.
        """

    def attach(self, model):
        """Looks at the `FineTunedModel` before each stage, when what learns is chosen and nothing has moved yet.

        Called within the scope of the strategy, outside of any graph: the place to create variables and taps.
        """

    @contextlib.contextmanager
    def forward(self, model, x, y):
        """Surrounds the pass whose outputs are scored by the task's loss, and gives the inputs that it gets."""
        yield x

    def loss(self, inner, y, y_pred):
        """Returns the loss of each row, `(rows,)`.

        Args:
            inner: function of `y` and `y_pred` that returns the losses without this change.
        """
        return inner(y, y_pred)

    @classmethod
    def changes_loss(cls):
        """True if `loss` is overridden."""
        return cls.loss is not Objective.loss

    def __call__(self, model, x, y, y_pred, extra=None):
        """Returns a term to add to the loss, or None for none.

        The term is `(rows,)` float32, of which the mean over the batch's rows is taken on however many replicas, or a
        scalar, of which the mean over replicas is taken. Weigh it inside.

        Args:
            model: FineTunedModel. Another pass through it is one `forward` surrounds too, with `model.row_losses(y, …)`
                for its losses and `model.mixed(function)` for what is compared by row with targets of other kinds.
            x: the model's inputs of this batch, with their usual structure, as `forward` gave them. y: its targets.
            y_pred: the model's outputs for them, computed with `training=True`.
            extra: what `self.extra` gathered and finished for this batch.
        """
        return None

    def gradients(self, model, compute, values=None):
        """Returns the `kerasft.steps.Step` whose gradients the optimizer gets.

        Args:
            compute: function of `values` that returns the step of this batch.
            values: None, or list of tensors: what the model shall have in place of its `trainable_variables`.
        """
        return compute(values)
