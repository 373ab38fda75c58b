import struct

import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.presets._gguf import GGUF


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def write(path, metadata, tensors, version=3):
    """Writes a GGUF file. `tensors`: (name, shape as in NumPy, number of the type, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + b"".join(metadata)
    data = b""
    for name, shape, kind, content in tensors:
        data += b"\0" * (-len(data) % 32)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", kind, len(data))
        data += content
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def test_reads_metadata_of_every_kind(tmp_path):
    metadata = [
        entry("name", 8, text("tiny ö")),
        entry("epsilon", 6, struct.pack("<f", 0.5)),
        entry("tied", 7, b"\1"),
        entry("heads", 4, struct.pack("<I", 9)),
        entry("long", 11, struct.pack("<q", -(2**40))),
        entry("tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("Ġb")),
        entry("kinds", 9, struct.pack("<IQ", 5, 3) + struct.pack("<3i", 3, -1, 1)),
    ]
    gguf = GGUF(write(tmp_path / "x.gguf", metadata, []))
    assert gguf.metadata == {
        "name": "tiny ö",
        "epsilon": 0.5,
        "tied": True,
        "heads": 9,
        "long": -(2**40),
        "tokens": ["a", "Ġb"],
        "kinds": [3, -1, 1],
    }


def test_unpacks_each_kind_of_tensor(tmp_path):
    whole = np.arange(6, dtype="<f4").reshape(2, 3) / 3
    half = np.array([1.5, -2.0], dtype="<f2")
    q8 = np.float16(0.25).tobytes() + np.arange(-16, 16, dtype="int8").tobytes()
    # Low halves of the 16 bytes are the first 16 weights, high halves the last.
    q4 = np.float16(0.5).tobytes() + np.float16(-1).tobytes() + bytes(low | (15 - low) << 4 for low in range(16))
    tensors = [
        ("f32", (2, 3), 0, whole.tobytes()),
        ("f16", (2,), 1, half.tobytes()),
        ("q8_0", (1, 32), 8, q8),
        ("q4_1", (2, 32), 3, q4 + q4),
    ]
    gguf = GGUF(write(tmp_path / "x.gguf", [], tensors))
    np.testing.assert_array_equal(gguf.array("f32"), whole)
    np.testing.assert_array_equal(gguf.array("f16"), half)
    np.testing.assert_array_equal(gguf.array("q8_0"), np.arange(-16, 16)[None] * 0.25)
    row = np.concatenate([np.arange(16), 15 - np.arange(16)]) * 0.5 - 1
    np.testing.assert_array_equal(gguf.array("q4_1"), np.stack([row, row]))
    assert all(gguf.array(name).dtype == "float32" for name in gguf.tensors)


def test_refuses_what_it_cannot_read(tmp_path):
    (tmp_path / "no.gguf").write_bytes(b"GGML" + b"\0" * 60)
    with pytest.raises(UserError, match="not a GGUF file.*Received: b'GGML"):
        GGUF(tmp_path / "no.gguf")
    with pytest.raises(UserError, match="not a GGUF file"):
        GGUF(write(tmp_path / "old.gguf", [], [], version=1))
    with pytest.raises(UserError, match="not one of F32, F16, Q4_1, Q8_0.*tensor type 12"):
        GGUF(write(tmp_path / "k.gguf", [], [("k", (256,), 12, b"\0" * 144)])).array("k")
    short = write(tmp_path / "short.gguf", [], [("w", (100,), 0, b"\0" * 396)])
    with pytest.raises(UserError, match="cut short.*400|cut short"):
        GGUF(short).array("w")
    whole = write(tmp_path / "head.gguf", [entry("name", 8, text("x" * 50))], [])
    whole.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(UserError, match="cut short"):
        GGUF(whole)
