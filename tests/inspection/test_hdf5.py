import io
import struct

import h5py
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.inspection import _hdf5_strings, hdf5


def test_every_array_is_named_with_its_shape(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/kernel"] = np.zeros((2, 3), "f4")
        file.create_dataset("a/half", data=np.zeros(4, "V2"), chunks=True)
        file.create_dataset("packed", data=np.ones(1000), compression="gzip", shuffle=True, fletcher32=True)
        file["a"].attrs["layer_names"] = ["é", "b"]
        file.attrs["model_config"] = "{}"
    expected = {"a/b/kernel": (2, 3), "a/half": (4,), "packed": (1000,)}
    assert hdf5.arrays(tmp_path / "a.h5", "a.h5") == expected
    assert hdf5.arrays(io.BytesIO((tmp_path / "a.h5").read_bytes()), "in memory") == expected
    assert hdf5.text_attribute(tmp_path / "a.h5", "a.h5", "model_config") == "{}"
    assert hdf5.text_attribute(tmp_path / "a.h5", "a.h5", "nothing") is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.update({"x": h5py.ExternalLink("b.h5", "/")}), "a link to another place .*Received: //x"),
        (lambda file: file.create_dataset("x", (10**9,), "f4"), "declares too much content.*4,000,000,000 bytes"),
        (lambda file: file.create_dataset("x", (2,), h5py.ref_dtype), "must hold numbers. Received: /x of object"),
        (lambda file: file.create_dataset("x", data=[0.0], chunks=True, compression="lzf"), r"plug-in.*/x.*\[32000\]"),
        (lambda file: file.update({"x": file["/"]}), "under two names, or within itself"),
        (lambda file: file.create_dataset("n" * 2000, data=[0.0]), "a name is too long"),
    ],
)
def test_the_rest_is_told(tmp_path, make, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(UserError, match=f"a.h5: .*{message}"):
        hdf5.arrays(tmp_path / "a.h5", "a.h5")


def test_a_heap_that_hdf5_never_comes_back_from_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    content = bytearray((tmp_path / "a.h5").read_bytes())
    free = content.index(b"GCOL") + 16 + 16 + 8  # After the head of the heap, that of its only string, and the string.
    assert struct.unpack_from("<Q", content, free) == (0,) < struct.unpack_from("<Q", content, free + 8)
    content[free + 8 : free + 16] = bytes(8)
    (tmp_path / "a.h5").write_bytes(content)
    for source in (tmp_path / "a.h5", io.BytesIO(content)):
        with pytest.raises(UserError, match="a heap of strings is damaged. Received: free space of 0 bytes at byte"):
            hdf5.arrays(source, "a.h5")


def test_heaps_within_heaps_are_told(tmp_path):
    head = b"GCOL\x01\0\0\0" + struct.pack("<Q", 2**19)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.frombuffer(head * 2**16, "u1")
    with pytest.raises(UserError, match="heaps of strings overlap or are larger than the file"):
        hdf5.arrays(tmp_path / "a.h5", "a.h5")


def test_addresses_of_other_sizes_are_told(tmp_path):
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_sizes(4, 4)
    h5py.h5f.create(str(tmp_path / "a.h5").encode(), h5py.h5f.ACC_TRUNC, created).close()
    with pytest.raises(UserError, match="lengths must have 8 bytes"):
        hdf5.arrays(tmp_path / "a.h5", "a.h5")


@pytest.mark.parametrize(("version", "attributes"), [("earliest", 1), ("earliest", 300), ("latest", 1)])
def test_strings_of_any_length_are_counted(tmp_path, version, attributes):
    """HDF5 takes as much memory as a string's place claims, before it looks whether the string is there."""
    with h5py.File(tmp_path / "a.h5", "w", libver=version) as file:
        group = file.create_group("g")
        for number in range(attributes):
            group.attrs[f"name {number}"] = ["é" * 40, f"a string {number}"]
            group.attrs[f"number {number}"] = number
    if version == "latest":
        with pytest.raises(UserError, match="a way that is not h5py's default"):
            hdf5.arrays(tmp_path / "a.h5", "a.h5")
        return
    assert hdf5.arrays(tmp_path / "a.h5", "a.h5") == {}
    content = bytearray((tmp_path / "a.h5").read_bytes())
    place = content.rindex(struct.pack("<IQ", 80, content.index(b"GCOL")))
    content[place : place + 4] = struct.pack("<I", 2**32 - 1)
    with pytest.raises(UserError, match=r"attributes declare more than the file can hold. Received: /g, .* 4,294,9"):
        hdf5.arrays(io.BytesIO(content), "a.h5")


@pytest.mark.parametrize("dtype", [h5py.vlen_dtype("f8"), np.dtype([("a", "f4")]), h5py.ref_dtype])
def test_attributes_of_other_kinds_are_told(tmp_path, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        h5py.h5a.create(file.id, b"x", h5py.h5t.py_create(dtype, logical=True), h5py.h5s.create_simple((2,)))
    with pytest.raises(UserError, match="an attribute must hold text or numbers. Received: /, attribute x"):
        hdf5.arrays(tmp_path / "a.h5", "a.h5")


def test_a_header_that_goes_round_in_circles_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(40):  # More than the first block of the header has room for.
            file.attrs[f"name {number}"] = "text"
        address = h5py.h5o.get_info(file.id).addr
    content = (tmp_path / "a.h5").read_bytes()
    assert _hdf5_strings.declared(content, address, "a.h5")[:2] == (40, 160)
    first = content.index(b"\x10\x00\x10\x00", address)  # The message that says where the header goes on.
    back = struct.pack("<QQ", address + 16, first + 24 - address - 16)
    with pytest.raises(UserError, match="an object's header is larger than the file"):
        _hdf5_strings.declared(content[: first + 8] + back + content[first + 24 :], address, "a.h5")
