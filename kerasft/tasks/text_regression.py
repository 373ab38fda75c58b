"""A number for a text, or for a pair of texts."""

import math
import numbers
from typing import ClassVar

import keras

from kerasft.errors import UserError
from kerasft.pipeline import clean
from kerasft.tasks._text import TextTask


class TextRegression(TextTask):
    """Predicts a number (`value`) from one text (`text`) or two (`text`, `text_pair`): similarity, ratings, prices.

    Trains on values of mean 0 and deviation 1, whatever their unit, so that one learning rate suits all; answers and
    reports are in the data's own unit.

    Args:
        mean: float or None. deviation: float above 0 or None. Of the values; learned from the training data if None.
        pair: bool. Two texts each example.
        pooling: str. `"auto"`, `"mean"`, `"first"`, `"last"` or `"pooled"`, the backbone's own.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        dropout: float. Before the last layer.
        columns: dict. The data's names for ours, such as `{"text": "sentence1", "value": "score"}`.

    Example: >>> kerasft.FineTuner(task="text_regression", backbone="bert_base_en_uncased", pair=True)
    """

    evaluation: ClassVar[str] = "regression"
    monitor: ClassVar[tuple[str, str]] = ("val_r2", "max")
    target: ClassVar[str] = "value"
    units = 1

    def __init__(self, mean=None, deviation=None, **kwargs):
        super().__init__(**kwargs)
        if (mean is None) != (deviation is None):
            raise UserError(f"Give mean and deviation, or neither. Received: mean={mean!r}, deviation={deviation!r}")
        are_numbers = all(isinstance(value, numbers.Real) and math.isfinite(value) for value in (mean, deviation))
        if mean is not None and not (are_numbers and deviation > 0):
            raise UserError(
                "mean must be a finite number, and deviation one above 0. "
                f"Received: mean={mean!r}, deviation={deviation!r}"
            )
        self.mean = mean
        self.deviation = deviation

    def prepare(self, frame, with_targets=True, quarantine=None):
        frame = self._chosen(frame, with_targets)
        problems = self._problems(frame) + (clean.number_problems(frame, self.target) if with_targets else [])
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        if with_targets:
            frame = frame.assign(**{self.target: clean.numbers(frame, self.target)})
            if self.mean is None:
                self._learn(frame)
        return frame

    def _learn(self, frame):
        values = frame[self.target]
        if values.min() == values.max():
            raise UserError(
                f"{clean.origin(frame)}: every {self.target} is the same, so there is nothing to learn. "
                f"Received: {values.iloc[0]:g} in {len(values):,} rows"
            )
        self.mean, self.deviation = float(values.mean()), float(values.std(ddof=0))

    def oddities(self, frame):
        same = clean.conflicting(frame, [name for name in self.inputs if name in frame], self.target)
        return [(same, "the same example with different values")]

    @property
    def learned(self):
        return {} if self.mean is None else {"mean": self.mean, "deviation": self.deviation}

    def check_learned(self):
        if self.mean is None:
            raise UserError("The values are not known yet: give mean and deviation, or call fit first. Received: None")

    def targets(self, frame):
        """Returns `(rows, 1)` float32 of mean 0 and deviation 1."""
        values = frame[self.target].to_numpy("float64")[:, None]
        return ((values - self.mean) / self.deviation).astype("float32")

    def loss(self):
        return keras.losses.MeanSquaredError()

    def metrics(self):
        return [keras.metrics.R2Score(name="r2")]

    def decode(self, outputs):
        """Returns `value` (batch,) float32."""
        return {"value": outputs[:, 0] * self.deviation + self.mean}

    def evaluation_arguments(self):
        return {"mean": self.mean, "deviation": self.deviation}

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "deviation": self.deviation}
