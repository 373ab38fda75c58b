"""A vector for a text, near to those of texts that mean the same."""

from typing import ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft import registry
from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.pipeline import clean, text
from kerasft.pipeline.pairs import Pairs
from kerasft.tasks._head import VectorHead
from kerasft.tasks._text import TextTask

COLUMNS = ("text", "text_pair", "negative")


class TextEmbedding(TextTask):
    """Makes vectors of texts whose cosine similarity says how alike they are: for search, clusters, duplicates.

    Learns from pairs of texts that belong together (`text`, `text_pair`: question and answer, title and paragraph), all
    others of the batch being wrong partners, and `negative`, if there is such a column, a hard one; or from pairs with
    a number (`value`) that says how alike they are. Both texts go through the same model.

    Args:
        low: float or None. high: float or None. Values of texts that have nothing in common, and of texts that mean the
            same; learned from the training data if None.
        temperature: float above 0. Without values: the lower, the more the nearest wrong partners count.
        sizes: list of int or None. Vectors that are cut to these sizes are to be good ones, too; the whole one is
            always among them.
        pooling: str. `"auto"`, `"mean"`, `"first"`, `"last"` or `"pooled"`, the backbone's own.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        columns: dict. The data's names for ours, such as `{"text": "question", "text_pair": "answer"}`.

    Example: >>> kerasft.FineTuner(task="text_embedding", backbone="bert_base_en_uncased")
    Source: Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084.
    """

    evaluation: ClassVar[str] = "similarity"
    monitor: ClassVar[tuple[str, str]] = ("val_loss", "min")
    target: ClassVar[str] = "value"
    answers_rows: ClassVar[bool] = False
    rows_apart: ClassVar[bool] = False

    def __init__(self, low=None, high=None, temperature=0.05, sizes=None, **kwargs):
        for name in ("pair", "dropout"):
            if kwargs.get(name):
                raise UserError(
                    f"text_embedding makes vectors of single texts as they are: no {name}. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        super().__init__(**{"dropout": 0.0, **kwargs})
        if (low is None) != (high is None) or (low is not None and not -np.inf < low < high < np.inf):
            raise UserError(f"low must be below high, both numbers, or neither. Received: low={low!r}, high={high!r}")
        check("text_embedding", "temperature", temperature, 0, low_is_allowed=False)
        are_sizes = isinstance(sizes, (list, tuple)) and all(type(size) is int and size > 0 for size in sizes)
        if sizes is not None and not (are_sizes and sizes):
            raise UserError(f"sizes must be whole numbers above 0. Received: sizes={sizes!r}")
        self.low = low
        self.high = high
        self.temperature = temperature
        self.sizes = None if sizes is None else list(sizes)
        self.has_values = low is not None

    def prepare(self, frame, with_targets=True, quarantine=None):
        theirs = {name: self.columns.get(name, name) for name in (*COLUMNS, "value")}
        has_values = theirs["value"] in frame
        wanted = {"text": True}
        if with_targets:
            wanted |= {"text_pair": True} | ({"value": True} if has_values else {"negative": False})
        given = {
            ours: name for ours, name in self.columns.items() if ours in wanted and (with_targets or name in frame)
        }
        frame = clean.choose_columns(frame, wanted, given)
        problems = [p for name in COLUMNS if name in frame for p in clean.text_problems(frame, name)]
        if "value" in frame:
            problems += clean.number_problems(frame, "value")
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        return frame.assign(value=clean.numbers(frame, "value")) if "value" in frame else frame

    def learn(self, train, validation):
        self.has_values = "value" in train
        if validation is not None and ("value" in validation) != self.has_values:
            raise UserError(
                "data and validation_data must both have 'value', or neither. Received: data with "
                f"{', '.join(train)}; validation_data with {', '.join(validation)}"
            )
        if self.has_values and self.low is None:
            values = train["value"]
            if values.min() == values.max():
                raise UserError(
                    f"{clean.origin(train)}: every value is the same, so there is nothing to learn. "
                    f"Received: {values.iloc[0]:g} in {len(values):,} rows"
                )
            self.low, self.high = float(values.min()), float(values.max())

    @property
    def learned(self):
        return {"low": self.low, "high": self.high} if self.has_values else {}

    def targets(self, frame):
        """Returns `(rows, 1)` float32, how alike the texts are from 0 to 1; or `(rows, partners and negatives)` int32,
        equal for equal texts.

        Before training has said what the lowest and the highest value are, they are those of the frame.
        """
        if "value" in frame:
            values = frame["value"].to_numpy("float32")[:, None]
            low, high = (values.min(), values.max()) if self.low is None else (self.low, self.high)
            return (values - low) / (high - low or 1)
        partners = frame[[name for name in COLUMNS[1:] if name in frame]]
        return pd.factorize(partners.to_numpy().ravel())[0].reshape(partners.shape).astype("int32")

    def examples(self, frame, preprocessor, with_targets=True):
        columns = [text.tokenize(preprocessor, [frame[name].array]) for name in COLUMNS if name in frame]
        return Pairs(columns, self.targets(frame) if with_targets else None)

    def head(self, pretrained):
        reads, pooling = self.reads(pretrained)
        return VectorHead(reads, pooling)

    def loss(self):
        if self.has_values:
            return registry.find("losses", "cosine_error")(self._sizes)
        return registry.find("losses", "info_nce")(self.temperature, self._sizes)

    @property
    def _sizes(self):
        return self.sizes and [None, *self.sizes]

    def metrics(self):
        return []

    def decode(self, outputs):
        """Returns `embedding` (batch, width) float32, of length 1."""
        return {"embedding": outputs}

    def decoded(self, outputs, frame):
        return self.decode(tf.constant(outputs[:, 0]))

    def shown(self, frame):
        """Returns the columns of texts, and `value` if there is one."""
        return frame[[name for name in (*COLUMNS, "value") if name in frame]]

    def served(self, frame):
        return frame[["text"]]

    def evaluation_arguments(self):
        return {"sizes": self.sizes}

    def get_config(self):
        config = super().get_config()
        own = {"low": self.low, "high": self.high, "temperature": self.temperature, "sizes": self.sizes}
        return {**{name: config[name] for name in ("pooling", "sequence_length", "columns")}, **own}
