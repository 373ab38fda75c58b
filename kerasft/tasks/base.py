"""What a task is: what is predicted, from what, and how it is scored and served."""

import numbers
import os
import types
from typing import Any, ClassVar

import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean


class Task:
    """One kind of prediction. A subclass is one file: columns, preprocessor, head, loss, metrics, decoding.

    Attributes:
        modality: str. `"text"` or `"image"`: the backbones it works with.
        evaluation: str. The file of `kerasft/evaluation/` that scores it.
        monitor: pair of the name of the validation metric to keep the best weights by, and `"max"` or `"min"`.
        inputs: names of the columns it reads, the optional ones included.
        target: str. Name of the column of what is learned.
        has_classes: bool. Whether outputs are logits of classes, as some objectives need.
        rows_apart: bool. Whether a row's loss is its own, so that a batch may be computed in parts, or shared.
        is_encoder_decoder: bool. Whether it trains an encoder with a decoder, each with tokens of its own.
        answers_rows: bool. Whether there is one output for each row, as some need; otherwise one for each word.
        scores_tokens: bool. Whether outputs are how likely the head finds the right tokens, and answers are made by
            `generated`.
        converses: bool. Whether prompts and conversations are answered.
        compares_answers: bool. Whether they are made for evaluation too, and compared with what is right.
        sampled: names of the columns of what `served` gives that are kept with a run; those of the inputs, if not said.
        parts: dict of name to the beginning of the names of some answers, which a further signature of that name has.
        labels: list of str, names of the classes, or None without classes or while they are unknown.

    Args:
        dropout: float, 0 or more and below 1. Before the last layer.
        columns: dict or None. The data's names for ours.
    """

    modality: ClassVar[str]
    evaluation: ClassVar[str]
    monitor: ClassVar[tuple[str, str]]
    target: ClassVar[str]
    inputs: Any
    has_classes: ClassVar[bool] = False
    answers_rows: ClassVar[bool] = True
    rows_apart: ClassVar[bool] = True
    is_encoder_decoder: ClassVar[bool] = False
    scores_tokens: ClassVar[bool] = False
    converses: ClassVar[bool] = False
    compares_answers: ClassVar[bool] = False
    parts: Any = types.MappingProxyType({})
    labels: list | None = None

    def __init__(self, dropout=0.1, columns=None):
        if not (isinstance(dropout, numbers.Real) and 0 <= dropout < 1):
            raise UserError(f"dropout must be 0 or more and below 1. Received: dropout={dropout!r}")
        if not isinstance(columns, (dict, type(None))):
            raise UserError(f"columns must be a dict such as {{'text': 'review'}}. Received: columns={columns!r}")
        self.dropout = dropout
        self.columns = dict(columns or {})

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns the frame with the task's own columns, each value checked; learns the labels or the like if need be.

        Rows that cannot be used are refused, or left to `quarantine`, a `pipeline.clean.Quarantine`.
        """
        raise NotImplementedError

    def learn(self, train, validation):
        """Learns from the training data what `prepare` leaves to them alone; `validation` may be None."""

    def oddities(self, frame):
        """Returns pairs of problems and what they are, which `fit` warns of: these rows are used all the same."""
        return []

    @property
    def strata(self):
        """Name of the column of classes of which a split gives each side its share, or None to split without."""
        return None

    @property
    def learned(self):
        """The arguments that `prepare` learned from data, as YAML can hold them."""
        return {}

    def check_learned(self):
        """Raises UserError if something is not known yet that the model needs, such as the labels."""

    def targets(self, frame):
        """Returns an array with one entry a row of what the loss compares the outputs with."""
        raise NotImplementedError

    def frame_of(self, inputs):
        """Returns a frame of the task's input columns for what `predict` was given."""
        raise NotImplementedError

    def input_frame(self, inputs):
        """Returns the same. Raises UserError for what is neither one input nor several."""
        try:
            if not isinstance(inputs, os.PathLike):  # Of an image: `predict` takes others for data.
                iter(inputs)
        except TypeError:
            raise UserError(
                "Give one input or a list of them (strings or tuples of strings; of images paths, bytes or arrays), or "
                f"data as for fit. Received: {clean.brief(inputs)}"
            ) from None
        return self.frame_of(inputs)

    def part_of(self, pretrained):
        """Returns what the task reads of a `Pretrained`, as another, where that is not all of it."""
        return pretrained

    def preprocessor(self, pretrained):
        """Returns the Keras layer that turns raw input into the backbone's, for training and serving alike."""
        raise NotImplementedError

    def examples(self, frame, preprocessor, with_targets=True):
        """Returns the store of examples that `kerasft.pipeline.batching.dataset` reads from."""
        raise NotImplementedError

    def head(self, pretrained):
        """Returns the Keras layer from the backbone's features to the output."""
        raise NotImplementedError

    def begin(self, model, preprocessor):
        """Gives a new model's head its first weights, where the task knows better ones than chance."""

    def loss(self):
        """Returns the `keras.losses.Loss`."""
        raise NotImplementedError

    def metrics(self):
        """Returns the list of Keras metrics that `fit` shows."""
        raise NotImplementedError

    def decode(self, outputs, *places):
        """Returns the dict of tensors that the exported signature gives, from the model's output.

        Args:
            places: tensors that say where in the inputs the outputs are, for tasks that need them.
        """
        raise NotImplementedError

    def serve(self, model, preprocessor, *inputs):
        """Returns the same from raw inputs, in the order of `signature`: the graph that is exported."""
        prepared = preprocessor(inputs if len(inputs) > 1 else inputs[0])
        return self.decode(model(prepared, training=False))

    def decoded(self, outputs, frame):
        """Returns the same for `FineTuner.outputs` of a frame."""
        return self.decode(tf.constant(outputs))

    def answers(self, decoded):
        """Returns the dict of arrays with one entry a row that `predict` gives, from what `decode` made."""
        return {name: values.numpy() for name, values in decoded.items()}

    def shown(self, frame):
        """Returns the frame's inputs, and the truth under the name of the answer, as a table shows them."""
        return frame[[name for name in (*self.inputs, self.target) if name in frame]]

    def signature(self):
        """Returns the `tf.TensorSpec`s of the exported signature, by name."""
        raise NotImplementedError

    @property
    def sampled(self):
        return self.inputs

    def request(self, frame):
        """Returns arrays by name of the exported signature's inputs for these rows."""
        raise NotImplementedError

    def calibrate(self, targets, outputs):
        """Chooses, after a training, what decoding needs to know, by the outputs for validation data."""

    def served(self, frame):
        """Returns the frame as it is when a client sends its rows to the exported model."""
        return frame

    def edge_cases(self):
        """Returns a frame of unusual but valid inputs, on which each export is checked against `predict`."""
        raise NotImplementedError

    def evaluation_arguments(self):
        """Returns what the file of `kerasft/evaluation/` needs to know beside targets, outputs and frame."""
        raise NotImplementedError

    def get_config(self):
        """Returns the arguments that make an equal task, labels learned from the data included."""
        return {"dropout": self.dropout, "columns": self.columns}

    def _chosen(self, frame, with_targets, wanted=None):
        """Returns the columns that are needed, by our names; those of `_wanted`, if not said."""
        wanted, columns = wanted or self._wanted(with_targets), self.columns
        if not with_targets:  # Inputs given in memory have our names, and no targets.
            columns = {ours: theirs for ours, theirs in columns.items() if ours in wanted and theirs in frame}
        return clean.choose_columns(frame, wanted, columns)

    def _wanted(self, with_targets):
        """Returns `{column: True}` of the columns that must be there, False of those that may."""
        raise NotImplementedError

    def _problems(self, frame):
        """Returns the problems of the input columns."""
        raise NotImplementedError
