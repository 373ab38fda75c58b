"""Reads GGUF, the file format of llama.cpp, with NumPy alone."""

import dataclasses
import math
import struct

import numpy as np

from kerasft.errors import UserError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Type of tensor: its name, weights in a block, bytes of a block.
_BLOCKS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file.

    Attributes:
        kind: int. GGUF's number of the way its weights are packed.
        shape: tuple of int, as in NumPy (GGUF names the innermost dimension first).
        offset: int. First byte, counted from the start of the file.
    """

    kind: int
    shape: tuple
    offset: int


class GGUF:
    """A GGUF file: its metadata, and its tensors as float32 arrays.

    Args:
        path: file name.

    Attributes:
        metadata: dict of str to value.
        tensors: dict of str to `Tensor`.

    Raises: UserError if it is not GGUF of version 2 or 3, is cut short, or packs a tensor in a way not known here.
    Example: >>> GGUF("model.gguf").array("token_embd.weight")
    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and the block layouts of its `ggml-common.h`.
    """

    def __init__(self, path):
        self.path = str(path)
        self._bytes = np.memmap(path, dtype="uint8", mode="r")
        self._position = 0
        if self._take(4) != b"GGUF" or self._scalar("I") not in (2, 3):
            raise UserError(f"{self.path} is not a GGUF file of version 2 or 3. Received: {bytes(self._bytes[:8])!r}")
        count, entries = self._scalar("Q"), self._scalar("Q")
        self.metadata = {self._string(): self._value(self._scalar("I")) for _ in range(entries)}
        self.tensors = self._read_tensors(count)

    def array(self, name):
        """Returns the tensor `name` as float32."""
        tensor = self.tensors[name]
        if tensor.kind not in _BLOCKS:
            known = ", ".join(kind for kind, _, _ in _BLOCKS.values())
            raise UserError(f"{self.path}: {name} is not one of {known}. Received: tensor type {tensor.kind}")
        kind, weights, size = _BLOCKS[tensor.kind]
        blocks = math.prod(tensor.shape) // weights
        packed = self._slice(tensor.offset, blocks * size).reshape(blocks, size)
        return _UNPACK[kind](packed).reshape(tensor.shape)

    def _read_tensors(self, count):
        found = {}
        for _ in range(count):
            name = self._string()
            shape = tuple(self._scalar("Q") for _ in range(self._scalar("I")))[::-1]
            found[name] = Tensor(self._scalar("I"), shape, self._scalar("Q"))
        alignment = self.metadata.get("general.alignment", 32)
        start = -(-self._position // alignment) * alignment
        return {name: dataclasses.replace(tensor, offset=start + tensor.offset) for name, tensor in found.items()}

    def _slice(self, start, length):
        if start + length > len(self._bytes):
            raise UserError(f"{self.path} is cut short. Received: {len(self._bytes)} bytes, {start + length} needed")
        return self._bytes[start : start + length]

    def _take(self, length):
        piece = self._slice(self._position, length).tobytes()
        self._position += length
        return piece

    def _scalar(self, code):
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _string(self):
        return self._take(self._scalar("Q")).decode("utf-8")

    def _value(self, kind):
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, length = self._scalar("I"), self._scalar("Q")
            return [self._value(inner) for _ in range(length)]
        if kind not in _SCALARS:
            raise UserError(f"{self.path}: metadata of an unknown kind. Received: {kind}")
        return self._scalar(_SCALARS[kind])


def _halves(packed):
    return np.ascontiguousarray(packed).view("<f2").astype("float32")


def _unpack_q8_0(packed):
    return _halves(packed[:, :2]) * packed[:, 2:].view("int8")


def _unpack_q4_1(packed):
    nibbles = np.concatenate([packed[:, 4:] & 15, packed[:, 4:] >> 4], axis=1)
    return _halves(packed[:, :2]) * nibbles + _halves(packed[:, 2:4])


_UNPACK = {
    "F32": lambda packed: np.ascontiguousarray(packed).view("<f4"),
    "F16": _halves,
    "Q8_0": _unpack_q8_0,
    "Q4_1": _unpack_q4_1,
}
