"""Strings of any length in an HDF5 file: what HDF5 1.14 believes of them without a look, read from the bytes.

Source: HDF5 file format specification 3.0, III.E "Global Heap", IV.A "Object Headers".
"""

import struct

from kerasft.inspection.limits import refused

HEAP = b"GCOL\x01\0\0\0"  # How a global heap begins, of which strings of any length are parts.
HEADER = 16  # Bytes before the content of a heap, before each of its objects, and before an object's first message.
ATTRIBUTE, CONTINUATION = 0x0C, 0x10  # Kinds of messages.
VARIABLE_LENGTH = 9  # A class of types; a value is its length, 4 bytes, and where it lies, 12 bytes.
VALUE = 16


def check_heaps(content, origin):
    """Refuses a heap of strings with free space of no size, from which HDF5 1.14 never comes back."""
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


def declared(content, address, origin):
    """Returns how many attributes an object has, how many bytes their strings claim, and the size of its header.

    So much memory HDF5 takes before it looks whether they are there.

    Args:
        content: bytes of the file. address: int, where the object's header begins.

    Raises: UserError for a header as h5py does not write it by default; struct.error for one that goes beyond the file.
    """
    version, _, _, _, size = struct.unpack_from("<BBHII", content, address)
    if version != 1:
        raise refused(origin, "attributes are kept in a way that is not h5py's default", f"an object at byte {address}")
    blocks, attributes, total, read = [(address + HEADER, size)], 0, 0, 0
    for at, length in blocks:
        read += length
        if read > len(content):
            raise refused(origin, "an object's header is larger than the file", f"byte {address}, {read:,} bytes")
        end = at + length
        while at + 8 <= end:
            kind, length, flags = struct.unpack_from("<HHB", content, at)
            if kind == CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", content, at + 8))
            if kind == ATTRIBUTE:
                attributes += 1
                total += _bytes_of_attribute(content, at + 8, length, flags, origin)
            at += 8 + length
    return attributes, total, read


def _bytes_of_attribute(content, at, length, flags, origin):
    end = at + length
    version, shared, *sizes = struct.unpack_from("<BBHHH", content, at)
    if flags & 2 or (version > 1 and shared):
        raise refused(origin, "an attribute is shared with another object", f"byte {at}")
    grain = 8 if version == 1 else 1
    name, kind, space = (-(-size // grain) * grain for size in sizes)
    at += 8 + (version == 3) + name
    if content[at] & 0x0F != VARIABLE_LENGTH:
        return 0
    return sum(
        struct.unpack_from("<I", content, place)[0] for place in range(at + kind + space, end - VALUE + 1, VALUE)
    )
