"""HDF5 files of weights: groups and plain arrays of numbers that lie in the file itself."""

import contextlib
import math
import mmap
import os
import struct

from kerasft.errors import UserError
from kerasft.inspection import _hdf5_strings
from kerasft.inspection.limits import NAME_LENGTH, check_file, declared_bytes, refused

MAX_OBJECTS = 100_000
FILTERS = (1, 2, 3)  # deflate, shuffle, fletcher32. Others are plug-ins, which HDF5 loads as shared libraries.
NUMBERS = "fiubcV"  # V is how HDF5 keeps bfloat16.


def arrays(source, origin):
    """Returns `{path: shape}` of every array, without reading one.

    Args:
        source: path, or an open binary file.
        origin: what messages call it.

    Raises: UserError for links that lead elsewhere, arrays that lie elsewhere or are views of others, objects and
        references, a group within itself, plug-in filters, damaged heaps of strings, and more than the file can hold.
    """
    with opened(source, origin) as file, _bytes_of(source) as content:
        strings, stored, found, total = _Strings(file, content, origin), len(content), {}, 0
        for item in _objects(file, origin):
            if _check_attributes(item, origin):
                strings.add(item)
            if hasattr(item, "keys"):
                continue
            _check_dataset(item, origin)
            found[item.name.lstrip("/")] = item.shape
            total += math.prod(item.shape) * item.dtype.itemsize
            if total > declared_bytes(stored):
                raise refused(origin, f"a file of {stored:,} bytes declares too much content", f"{total:,} bytes")
        return found


def text_attribute(source, origin, name):
    """Returns an attribute of the file's root as a string, or None. Raises UserError if it is anything else."""
    with opened(source, origin) as file:
        if name not in file.attrs:
            return None
        value = file.attrs[name]
        value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str):
            raise refused(origin, f"the attribute {name} must be a string", type(value).__name__)
        return str(value)


@contextlib.contextmanager
def opened(source, origin):
    """Gives the open `h5py.File`; what goes wrong with it meanwhile is a UserError."""
    import h5py

    if isinstance(source, (str, os.PathLike)):
        check_file(source, "file")
    try:
        with h5py.File(source, "r") as file:
            yield file
    except UserError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, MemoryError, struct.error) as error:
        raise refused(origin, "not a whole HDF5 file", str(error)) from None


@contextlib.contextmanager
def _bytes_of(source):
    """Gives the content of the file, not read into memory where it need not be."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
    else:
        source.seek(0)
        yield source.read()


class _Strings:
    """Adds up what the attributes of a file claim for strings of any length.

    HDF5 never comes back from some heaps of strings, which are refused at once, and takes memory before it looks.
    """

    def __init__(self, file, content, origin):
        if file.id.get_create_plist().get_sizes() != (8, 8) or file.userblock_size:
            raise refused(origin, "addresses and lengths must have 8 bytes, from the file's start", "others")
        _hdf5_strings.check_heaps(content, origin)
        self.content = content
        self.origin = origin
        self.total = self.headers = 0

    def add(self, item):
        """Refuses a group or array with which they are more than the file can hold."""
        attributes, declared, size = _hdf5_strings.declared(self.content, _address(item), self.origin)
        self.total, self.headers = self.total + declared, self.headers + size
        is_too_much = self.total > declared_bytes(len(self.content)) or self.headers > len(self.content)
        if is_too_much or attributes != len(item.attrs):
            what = f"{item.name}, {attributes} attributes, up to there {self.total:,} bytes"
            raise refused(self.origin, "attributes declare more than the file can hold", what)


def _objects(file, origin):
    """Yields every group and array of a file, after a look at the links that lead to it."""
    seen, waiting = {_address(file)}, [file]
    yield file
    while waiting:
        group = waiting.pop()
        for name in group:
            item = _hard_linked(group, name, origin)
            if _address(item) in seen:
                raise refused(origin, "an object is there under two names, or within itself", item.name)
            seen.add(_address(item))
            if len(seen) > MAX_OBJECTS:
                raise refused(origin, f"it may hold {MAX_OBJECTS:,} objects at most", f"{item.name} and more")
            yield item
            if hasattr(item, "keys"):
                waiting.append(item)


def _hard_linked(group, name, origin):
    import h5py

    if len(name) > NAME_LENGTH or ".." in name or "\\" in name:
        raise refused(origin, "a name is too long, or leads elsewhere", name)
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise refused(origin, "a link to another place or file is not followed", f"{group.name}/{name}")
    item = group[name]
    if not isinstance(item, (h5py.Group, h5py.Dataset)):
        raise refused(origin, "only groups and arrays are read", f"{item.name}, a {type(item).__name__}")
    return item


def _address(item):
    import h5py

    return h5py.h5o.get_info(item.id).addr


def _check_dataset(dataset, origin):
    created = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external:
        raise refused(origin, "an array lies in another file or is a view of others", dataset.name)
    if dataset.dtype.kind not in NUMBERS or dataset.dtype.names or dataset.dtype.subdtype or dataset.shape is None:
        raise refused(origin, "an array must hold numbers", f"{dataset.name} of {dataset.dtype}")
    filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
    if set(filters) - set(FILTERS):
        raise refused(origin, "an array is packed by a plug-in of HDF5", f"{dataset.name} with the filters {filters}")


def _check_attributes(item, origin):
    """Returns True if an attribute holds strings of any length."""
    import h5py

    dtypes = {name: item.attrs.get_id(name).dtype for name in item.attrs}
    for name, dtype in dtypes.items():
        if dtype.names or dtype.subdtype or (dtype.kind == "O" and not h5py.check_string_dtype(dtype)):
            raise refused(origin, "an attribute must hold text or numbers", f"{item.name}, attribute {name}")
    return any(dtype.kind == "O" for dtype in dtypes.values())
