"""What a larger model, already trained, says of the same examples."""

import contextlib
import threading
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.objectives import _teacher
from kerasft.objectives._distributions import divergence, is_multi_label
from kerasft.objectives.base import Objective


class Distillation(Objective):
    """Trains towards a teacher's probabilities, and if wanted its hidden states and attention, beside the labels.

    The loss is `(1 - weight) * loss + weight * T² * KL(teacher / T, outputs / T)`. The teacher may be of any kind; its
    logits are computed once for all training examples and kept on disk. With `hidden` or `attention` it runs beside the
    model in each step, so it must read the same tokens or pixels; its blocks are spread evenly over the model's.

    Args:
        teacher: str. Folder of a finished run with the same labels; or a `.npy` file of its logits, `(examples,
            classes)` float, in the order of the training data, which must not be split then.
        temperature: float above 0. Softens both sides' probabilities.
        weight: float from 0 to 1. Of the teacher's probabilities against the labels.
        hidden: float, 0 or more. Weight of the mean squared difference of both sides' hidden states, after a learned
            projection where the teacher is wider.
        attention: float, 0 or more. Weight of the mean squared difference of both sides' attention maps, the mean over
            heads.

    Raises: UserError for arguments out of range, or a teacher that does not go with the task, the data or the model.
    Example:
        >>> objective = {"name": "distillation", "teacher": "saved_models/large"}
        >>> kerasft.FineTuner(task="text_classification", backbone=…, objectives=[objective])
    Source: Hinton, Vinyals & Dean 2015, https://arxiv.org/abs/1503.02531, section 2; hidden states and attention: Jiao
        et al. 2020 ("TinyBERT"), https://arxiv.org/abs/1909.10351, section 3.1.
    """

    name: ClassVar[str] = "distillation"
    needs_classes = True
    needs_rows: ClassVar[bool] = True

    def __init__(self, teacher, temperature=2.0, weight=0.5, hidden=0.0, attention=0.0):  # noqa: PLR0913
        check("distillation", "temperature", temperature, 0, low_is_allowed=False)
        check("distillation", "weight", weight, 0, 1)
        check("distillation", "hidden", hidden, 0)
        check("distillation", "attention", attention, 0)
        self.teacher = teacher
        self.temperature = temperature
        self.weight = weight
        self.hidden = hidden
        self.attention = attention
        self.takes_features = not (hidden or attention)
        self.has_file_of_rows = str(teacher).endswith(".npy")
        self.inner: Any = None
        self.local = threading.local()

    def prepare(self, tuner, frame):
        if self.has_file_of_rows:
            if self.hidden or self.attention:
                raise UserError(f"distillation: a file has logits only, no hidden states. Received: {self.teacher!r}")
            logits = _teacher.read_logits(self.teacher)
        else:
            teacher = _teacher.load(self.teacher, tuner)
            if self.hidden or self.attention:
                _teacher.check_inputs(teacher, tuner, frame)
                self.inner = teacher.model
            logits = _teacher.logits(teacher, frame)
        _teacher.check_shape(logits, (len(frame), tuner.task.num_classes), self.teacher)
        self.extra = Rows(logits)

    def attach(self, model):
        kinds = ((self.hidden, _teacher.HiddenStates), (self.attention, _teacher.AttentionMaps))
        self.pairs = [(weight, make(self.inner, model)) for weight, make in kinds if weight]

    @contextlib.contextmanager
    def forward(self, model, x, y):
        with contextlib.ExitStack() as stack:
            self.local.ours = [stack.enter_context(_teacher.reading(pair.ours)) for _, pair in self.pairs]
            yield x

    def loss(self, inner, y, y_pred):
        return (1 - self.weight) * inner(y, y_pred)

    def __call__(self, model, x, y, y_pred, extra=None):
        multi, t = is_multi_label(y, y_pred), self.temperature
        apart = model.mixed(lambda taught, outputs: divergence(taught / t, outputs / t, multi))
        return self.weight * t**2 * apart(extra, y_pred) + (self._inside(x) if self.pairs else 0.0)

    def _inside(self, x):
        """Returns how far hidden states and attention are from the teacher's, which makes one pass for both."""
        with contextlib.ExitStack() as stack:
            theirs = [stack.enter_context(_teacher.reading(pair.theirs)) for _, pair in self.pairs]
            self.inner(x, training=False)
        both = zip(self.pairs, self.local.ours, theirs, strict=True)
        return sum(weight * pair.apart(x, ours(), taught()) for (weight, pair), ours, taught in both)


class Rows:
    """The rows of an array that belong to a batch."""

    def __init__(self, array):
        self.array = np.asarray(array, "float32")
        self.signature = tf.TensorSpec((None, *self.array.shape[1:]), "float32")

    def gather(self, rows):
        return self.array[rows]

    @staticmethod
    def finish(tensor):
        return tensor
