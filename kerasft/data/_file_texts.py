"""A column of texts that stay in their file, so that a table of them is small however large the file is."""

import os

import numpy as np
import pandas as pd

from kerasft.errors import UserError


class FileText(pd.api.extensions.ExtensionDtype):
    """A text of this file.

    Args:
        path: str.
    """

    type = str
    na_value = None
    _metadata = ("path",)

    def __init__(self, path):
        self.path = path

    @property
    def name(self):
        """What pandas calls it."""
        return f"text of {self.path}"

    @classmethod
    def construct_array_type(cls):
        """Returns the class of columns."""
        return FileTexts


class FileTexts(pd.api.extensions.ExtensionArray):
    """Texts of a UTF-8 file, read whenever they are asked for. Lines end with `\\n`, however they do in the file.

    Parts and choices of rows are of the same kind: `column[begin:end]`, `frame[is_long]`.

    Args:
        file: OpenFile, shared with the columns that are made of this one.
        begins, ends: `(rows,)` int64, in bytes.

    Raises: UserError when a text is read that is no longer UTF-8, as the file was changed.
    """

    def __init__(self, file, begins, ends):
        self.file = file
        self.begins = begins
        self.ends = ends

    @property
    def dtype(self):
        return FileText(self.file.path)

    @property
    def nbytes(self):
        return self.begins.nbytes + self.ends.nbytes

    def __len__(self):
        return len(self.begins)

    def __getitem__(self, item):
        item = pd.api.indexers.check_array_indexer(self, item)
        begins, ends = self.begins[item], self.ends[item]
        return self.file.text(begins, ends) if np.ndim(begins) == 0 else self._of(begins, ends)

    def __iter__(self):
        return map(self.file.text, self.begins.tolist(), self.ends.tolist())

    def __array__(self, dtype=None, copy=None):
        made = np.empty(len(self), object)
        made[:] = list(self)
        return made

    def isna(self):
        return np.zeros(len(self), bool)

    def take(self, indices, allow_fill=False, fill_value=None):
        """Returns the texts at these places. Raises ValueError for places that would have to be filled."""
        indices = np.asarray(indices, "int64")
        if allow_fill and (indices < 0).any():
            raise ValueError("A file has no missing texts.")
        return self._of(self.begins[indices], self.ends[indices])

    def copy(self):
        return self._of(self.begins, self.ends)

    @classmethod
    def _from_sequence(cls, scalars, *, dtype=None, copy=False):
        raise TypeError("Other texts than those of the file are objects.")  # As pandas then makes them.

    @classmethod
    def _concat_same_type(cls, arrays):
        first = arrays[0]
        return first._of(*(np.concatenate([getattr(a, name) for a in arrays]) for name in ("begins", "ends")))

    def _of(self, begins, ends):
        return FileTexts(self.file, begins, ends)


class OpenFile:
    """A file that is open as long as anything refers to it.

    Args:
        path: str or path.
    """

    def __init__(self, path):
        self.path = str(path)
        self.descriptor = os.open(path, os.O_RDONLY)

    def text(self, begin, end):
        """Returns the text from byte to byte."""
        try:
            text = os.pread(self.descriptor, end - begin, begin).decode()
        except UnicodeDecodeError as error:
            name = os.path.basename(self.path)
            raise UserError(f"{name} was changed while it was read. Received: byte {begin:,}") from error
        return text.replace("\r\n", "\n") if "\r" in text else text

    def __reduce__(self):
        return OpenFile, (self.path,)  # Copies and other processes open it anew.

    def __del__(self):
        os.close(self.descriptor)
