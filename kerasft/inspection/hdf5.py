"""HDF5 files of weights: groups and plain arrays of numbers that lie in the file itself."""

import contextlib
import math
import mmap
import os
import struct

from kerasft.errors import UserError
from kerasft.inspection.limits import NAME_LENGTH, check_file, declared_bytes, refused

MAX_OBJECTS = 100_000
FILTERS = (1, 2, 3)  # deflate, shuffle, fletcher32. Others are plug-ins, which HDF5 loads as shared libraries.
HEAP = b"GCOL\x01\0\0\0"  # How a global heap begins, of which strings of any length are parts.
HEADER = 16  # Bytes before the content of a heap, and before each of its objects.
NUMBERS = "fiubcV"  # V is how HDF5 keeps bfloat16.


def arrays(source, origin):
    """Returns `{path: shape}` of every array, without reading one.

    Args:
        source: path, or an open binary file.
        origin: what messages call it.

    Raises: UserError for links that lead elsewhere, arrays that lie elsewhere or are views of others, objects and
        references, a group within itself, plug-in filters, damaged heaps of strings, and more than the file can hold.
    """
    with opened(source, origin) as file:
        _check_heaps(file, source, origin)
        stored = os.path.getsize(source) if isinstance(source, (str, os.PathLike)) else source.seek(0, os.SEEK_END)
        found, total = {}, 0
        for dataset in _datasets(file, origin):
            found[dataset.name.lstrip("/")] = dataset.shape
            total += math.prod(dataset.shape) * dataset.dtype.itemsize
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
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, MemoryError) as error:
        raise refused(origin, "not a whole HDF5 file", str(error)) from None


def _check_heaps(file, source, origin):
    """Refuses a heap of strings with free space of no size, from which HDF5 1.14 never comes back.

    Source: HDF5 file format specification 3.0, III.E, "Disk Format: Level 1E - Global Heap".
    """
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise refused(origin, "addresses and lengths must have 8 bytes", "an HDF5 file with others")
    with contextlib.ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            raw = stack.enter_context(open(source, "rb"))
            content = stack.enter_context(mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            source.seek(0)
            content = source.read()
        heap, together = content.find(HEAP), 0
        while 0 <= heap <= len(content) - HEADER:
            (length,), at = struct.unpack_from("<Q", content, heap + len(HEAP)), heap + HEADER
            together += length
            if together > len(content):  # Heaps within heaps would be walked again and again.
                raise refused(origin, "heaps of strings overlap or are larger than the file", f"{together:,} bytes")
            end = min(heap + length, len(content))
            while at + HEADER <= end:
                number, _, _, size = struct.unpack_from("<HHIQ", content, at)
                if number == 0 and size < HEADER:
                    raise refused(origin, "a heap of strings is damaged", f"free space of {size} bytes at byte {at}")
                at += size if number == 0 else HEADER + (size + 7) // 8 * 8
            heap = content.find(HEAP, heap + 1)


def _datasets(file, origin):
    """Yields every array of a file, after a look at the links that lead to it."""
    seen, waiting = {_address(file)}, [file]
    while waiting:
        group = waiting.pop()
        _check_attributes(group, origin)
        for name in group:
            item = _hard_linked(group, name, origin)
            if _address(item) in seen:
                raise refused(origin, "an object is there under two names, or within itself", item.name)
            seen.add(_address(item))
            if len(seen) > MAX_OBJECTS:
                raise refused(origin, f"it may hold {MAX_OBJECTS:,} objects at most", f"{item.name} and more")
            if hasattr(item, "keys"):
                waiting.append(item)
            else:
                _check_dataset(item, origin)
                yield item


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
    _check_attributes(dataset, origin)
    created = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external:
        raise refused(origin, "an array lies in another file or is a view of others", dataset.name)
    if dataset.dtype.kind not in NUMBERS or dataset.dtype.names or dataset.dtype.subdtype or dataset.shape is None:
        raise refused(origin, "an array must hold numbers", f"{dataset.name} of {dataset.dtype}")
    filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
    if set(filters) - set(FILTERS):
        raise refused(origin, "an array is packed by a plug-in of HDF5", f"{dataset.name} with the filters {filters}")


def _check_attributes(item, origin):
    import h5py

    for name in item.attrs:
        dtype = item.attrs.get_id(name).dtype
        if h5py.check_ref_dtype(dtype) or dtype.names:
            raise refused(origin, "an attribute must hold text or numbers", f"{item.name}, attribute {name}")
