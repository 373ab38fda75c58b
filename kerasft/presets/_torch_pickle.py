"""Reads weights as PyTorch before 1.6 saved them, without PyTorch and without running what is in the file."""

import collections
import os
import pickle

import numpy as np

from kerasft.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8"}


def read(path):
    """Returns `{name: array}` of a state dict in PyTorch's first format, which is not a zip file.

    Only tensors and the dict that holds them can come out of it; a file that names anything else is refused.

    Raises: UserError if it does, is of another format, or reaches beyond its own data.
    Source: `_legacy_load` in https://github.com/pytorch/pytorch/blob/main/torch/serialization.py.
    """
    storages = {}
    with open(path, "rb") as file:
        try:
            if (_load(file, storages), _load(file, storages)) != (MAGIC, PROTOCOL):
                raise pickle.UnpicklingError("it does not begin as such a file does")
            if not _load(file, storages)["little_endian"]:
                raise pickle.UnpicklingError("it was written on a big-endian machine")
            state = _load(file, storages)
            for key in _load(file, storages):
                file.seek(8, os.SEEK_CUR)  # the number of elements, which the storage has told
                if file.readinto(storages[key]) != storages[key].nbytes:
                    raise pickle.UnpicklingError("it is cut short")
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no state dict of PyTorch before 1.6: {error}. Received: {path!s}") from error
    return dict(state)


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors as views of arrays that are filled later, for their data comes last in the file."""

    def __init__(self, file, storages):
        super().__init__(file)
        self.storages = storages
        self.limit = os.fstat(file.fileno()).st_size

    def find_class(self, module, name):
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, identifier):
        kind, dtype, key, _, length, view = identifier
        if kind != "storage" or view is not None or not 0 <= length * np.dtype(dtype).itemsize <= self.limit:
            raise pickle.UnpicklingError(f"it has a storage of {length} elements")
        return self.storages.setdefault(key, np.zeros(length, dtype))


def _load(file, storages):
    return _Unpickler(file, storages).load()


def _view(storage, offset, shape, strides, *_):
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= storage.size):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    in_bytes = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, in_bytes, writeable=False)
