import collections
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.presets import _torch_pickle

HEAD = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]


@pytest.fixture
def torch(monkeypatch):
    """Just enough of PyTorch's names to pickle like it."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only its name is used")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("FloatStorage", "LongStorage", "CudaStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    return torch


class Storage:
    def __init__(self, kind, key, length):
        self.identifier = ("storage", kind, key, "cpu", length, None)


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.identifier if isinstance(thing, Storage) else None


def write(path, state, storages):
    """Writes a file as PyTorch before 1.6 did. `storages`: dict of key to array."""
    with open(path, "wb") as file:
        for part in [*HEAD, state, sorted(storages)]:
            Pickler(file, protocol=2).dump(part)
        for key in sorted(storages):
            file.write(struct.pack("<q", storages[key].size) + storages[key].tobytes())
    return path


def test_reads_tensors_that_share_a_storage(tmp_path, torch):
    data, count = np.arange(12, dtype="<f4"), np.array([7], dtype="<i8")
    shared = Storage(torch.FloatStorage, "a", 12)
    state = collections.OrderedDict(
        weight=Tensor(shared, 0, (2, 3), (3, 1)),
        transposed=Tensor(shared, 6, (3, 2), (1, 3)),
        count=Tensor(Storage(torch.LongStorage, "b", 1), 0, (), ()),
    )
    found = _torch_pickle.read(write(tmp_path / "x.pth", state, {"a": data, "b": count}))
    assert list(found) == ["weight", "transposed", "count"]
    np.testing.assert_array_equal(found["weight"], data[:6].reshape(2, 3))
    np.testing.assert_array_equal(found["transposed"], data[6:].reshape(2, 3).T)
    assert found["count"] == 7


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", range(4))
def test_runs_nothing_that_the_file_names(tmp_path, place):
    parts = [*HEAD, {}, []]
    parts[place] = Attack(tmp_path / "ran")
    (tmp_path / "x.pth").write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(UserError, match=r"it names \w+\.system"):
        _torch_pickle.read(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_refuses_tensors_beyond_their_storage(tmp_path, torch):
    data = {"a": np.zeros(4, "<f4")}
    for offset, shape, strides in [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,))]:
        state = {"w": Tensor(Storage(torch.FloatStorage, "a", 4), offset, shape, strides)}
        with pytest.raises(UserError, match="reaches beyond its storage"):
            _torch_pickle.read(write(tmp_path / "x.pth", state, data))
    state = {"w": Tensor(Storage(torch.FloatStorage, "a", 10**12), 0, (1,), (1,))}
    with pytest.raises(UserError, match="a storage of 1000000000000 elements"):
        _torch_pickle.read(write(tmp_path / "x.pth", state, data))
    state = {"w": Tensor(Storage(torch.CudaStorage, "a", 4), 0, (1,), (1,))}
    with pytest.raises(UserError, match="it names torch.CudaStorage"):
        _torch_pickle.read(write(tmp_path / "x.pth", state, data))


def test_refuses_other_formats_and_cut_files(tmp_path, torch):
    path = tmp_path / "x.pth"
    for content in (b"", b"PK\3\4 a zip file", pickle.dumps({"w": 1}), b"\x80\x02"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no state dict of PyTorch before 1.6"):
            _torch_pickle.read(path)
    state = {"w": Tensor(Storage(torch.FloatStorage, "a", 4), 0, (4,), (1,))}
    path.write_bytes(write(path, state, {"a": np.zeros(4, "<f4")}).read_bytes()[:-1])
    with pytest.raises(UserError, match="cut short"):
        _torch_pickle.read(path)
