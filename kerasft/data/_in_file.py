"""Columns whose values stay in their file, so that a table of them is small however large the file is."""

import array
import csv
import os
from typing import NamedTuple

import numpy as np
import pandas as pd

from kerasft.errors import UserError

LEAST = 64_000_000  # Bytes of a file from which on the values of a table stay there.
FEW, SHORT = 1000, 100  # A column of no more different values, of so many characters each, is in memory: labels.
CHANGED = (ValueError, LookupError, AttributeError, StopIteration, csv.Error)  # What reading other bytes may raise.


class InFile(pd.api.extensions.ExtensionDtype):
    """A value of this file.

    Args:
        path: str. reads: hashable, as of `FileValues`.
    """

    type = object
    na_value = None
    _metadata = ("path", "reads")

    def __init__(self, path, reads):
        self.path = path
        self.reads = reads

    @property
    def name(self):
        """What pandas calls it."""
        return f"value in {self.path}"

    @classmethod
    def construct_array_type(cls):
        """Returns the class of columns."""
        return FileValues


class FileValues(pd.api.extensions.ExtensionArray):
    """Values in a file, read whenever they are asked for.

    Parts and choices of rows are of the same kind: `column[begin:end]`, `frame[is_long]`.

    Args:
        file: OpenFile, shared with the columns that are made of this one.
        reads: function from bytes of the file to a value, which can be hashed and pickled.
        begins, ends: `(rows,)` int64, in bytes.
        missing: `(rows,)` bool, which values are None or NaN.

    Raises: UserError when a value is read that is no longer there, as the file was changed.
    """

    def __init__(self, file, reads, begins, ends, missing):
        self.file = file
        self.reads = reads
        self.arrays = begins, ends, missing

    @property
    def dtype(self):
        return InFile(self.file.path, self.reads)

    @property
    def nbytes(self):
        return sum(values.nbytes for values in self.arrays)

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, item):
        item = pd.api.indexers.check_array_indexer(self, item)
        made = self._of(*(values[item] for values in self.arrays))
        return self.file.value(self.reads, *made.arrays[:2]) if np.ndim(made.arrays[0]) == 0 else made

    def __iter__(self):
        for begin, end in zip(*(values.tolist() for values in self.arrays[:2]), strict=True):
            yield self.file.value(self.reads, begin, end)

    def __array__(self, dtype=None, copy=None):
        return np.fromiter(self, object, len(self))

    def isna(self):
        return self.arrays[2]

    def take(self, indices, allow_fill=False, fill_value=None):
        """Returns the values at these places. Raises ValueError for places that would have to be filled."""
        indices = np.asarray(indices, "int64")
        if allow_fill and (indices < 0).any():
            raise ValueError("A file has no values for rows that it does not have.")
        return self._of(*(values[indices] for values in self.arrays))

    def copy(self):
        return self._of(*self.arrays)

    @classmethod
    def _from_sequence(cls, scalars, *, dtype=None, copy=False):
        raise TypeError("Other values than those of the file are objects.")  # As pandas then makes them.

    @classmethod
    def _concat_same_type(cls, columns):
        return columns[0]._of(*(np.concatenate(parts) for parts in zip(*(c.arrays for c in columns), strict=True)))

    def _of(self, *arrays):
        return FileValues(self.file, self.reads, *arrays)


class OpenFile:
    """A file that is open as long as anything refers to it.

    Args:
        path: str or path.
    """

    def __init__(self, path):
        self.path = str(path)
        self.descriptor = os.open(path, os.O_RDONLY)

    def value(self, reads, begin, end):
        """Returns what a function reads in the bytes from one place to another."""
        try:
            return reads(os.pread(self.descriptor, end - begin, begin))
        except CHANGED as error:
            name = os.path.basename(self.path)
            raise UserError(f"{name} was changed while it was read. Received: byte {begin:,}") from error

    def __reduce__(self):
        return OpenFile, (self.path,)  # Copies and other processes open it anew.

    def __del__(self):
        os.close(self.descriptor)


class Row(NamedTuple):
    """A row of a table as it is found in its file.

    Attributes:
        begin, end: int. In bytes.
        values: dict. By the name of the column.
    """

    begin: int
    end: int
    values: dict


def is_large(path):
    """Returns whether the values of a table in this file stay there."""
    return os.path.getsize(path) >= LEAST


def table(path, rows, reads, absent):
    """Returns a DataFrame of rows that stay in their file, but for columns of few different values.

    Args:
        path: str or path. rows: iterable of `Row`.
        reads: function from a column's name to the function from the bytes of a row to the value in this column.
        absent: what is the value of a row that has none in a column.
    """
    places, columns = array.array("q"), {}
    for number, row in enumerate(rows):
        places.extend((row.begin, row.end))
        for name in row.values:
            if name not in columns:
                columns[name] = _Column(absent, number)
        for name, column in columns.items():
            column.add(row.values.get(name, absent))
    begins, ends = np.array(places, "int64").reshape(-1, 2).T
    file, found = OpenFile(path), {}
    for name, column in columns.items():
        few = column.values()
        missing = np.frombuffer(column.missing, bool)
        found[name] = FileValues(file, reads(name), begins, ends, missing) if few is None else few
    return pd.DataFrame(found).set_axis(pd.Index(list(found), dtype=object), axis="columns")


class _Column:
    """What is known of a column so far: which values are missing, and the values themselves while they are few.

    Args:
        absent: the value of the first rows. rows: int. How many these are.
    """

    def __init__(self, absent, rows):
        self.missing = bytearray()
        self.are_few = True
        self.known = {}
        self.numbers = array.array("i")
        for _ in range(rows):
            self.add(absent)

    def add(self, value):
        self.missing.append(value is None or value != value)
        if not self.are_few:
            return
        is_long = isinstance(value, (dict, list)) or (isinstance(value, str) and len(value) > SHORT)
        if is_long or len(self.known) > FEW:
            self.are_few = False
            self.known.clear()
            del self.numbers[:]
            return
        _, number = self.known.setdefault((type(value), value), (value, len(self.known)))
        self.numbers.append(number)

    def values(self):
        """Returns the values if they are few, each one object however many rows it is in; or None."""
        if not self.are_few:
            return None
        known = [value for value, _ in self.known.values()]
        made = np.fromiter((known[number] for number in self.numbers), object, len(self.numbers))
        return pd.Series(made, dtype=object)
