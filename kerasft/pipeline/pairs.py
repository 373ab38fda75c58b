"""Texts that are compared: each example is a text and its partners."""

import dataclasses

import numpy as np

from kerasft.pipeline.examples import Examples
from kerasft.pipeline.text import TokenizedText


@dataclasses.dataclass
class Pairs(Examples):
    """Columns of texts; a batch holds all texts of the first, then all of the second, and so on.

    Attributes:
        columns: list of TokenizedText, as long as each other.
        targets: array with one entry an example, or None.
    """

    columns: list[TokenizedText]
    targets: np.ndarray | None
    is_by_row = False

    def __len__(self):
        return len(self.columns[0])

    @property
    def preprocessor(self):
        """The TextPreprocessor that made the columns."""
        return self.columns[0].preprocessor

    @property
    def lengths(self):
        """Tokens of the longest text of each example, `(rows,)` int64."""
        return np.max([column.lengths for column in self.columns], axis=0)

    @property
    def signature(self):
        """The `tf.TensorSpec`s of what `gather` returns."""
        return self.columns[0].signature

    def gather(self, rows, width):
        """Returns the backbone's inputs, each `(columns * len(rows), width)` int32."""
        made = [column.gather(rows, width) for column in self.columns]
        return {name: np.concatenate([part[name] for part in made]) for name in self.signature}

    def restored(self, made, batches):
        """Returns `(rows, columns, width)` of what a model made of these batches."""
        count, begin = len(self.columns), 0
        in_order = np.empty((len(self), count, made.shape[1]), made.dtype)
        for batch in batches:
            end = begin + count * len(batch)
            in_order[batch] = made[begin:end].reshape(count, len(batch), -1).swapaxes(0, 1)
            begin = end
        return in_order


def similarities(outputs, size=None):
    """Returns the cosine similarity of the first two texts of each row, `(rows,)`, of vectors cut to a size.

    Args:
        outputs: `(rows, 2 or more, width)` float.
    """
    cut = outputs[:, :2, :size].astype("float64")
    cut /= np.maximum(np.linalg.norm(cut, axis=2, keepdims=True), 1e-12)
    return (cut[:, 0] * cut[:, 1]).sum(1)
