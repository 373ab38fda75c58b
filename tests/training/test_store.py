"""Checkpoints on disk: whole or not at all, verified, the newest by its number."""

import concurrent.futures
import errno
import json
import os
import random
import shutil
import threading
import warnings

import ml_dtypes
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.training import store
from kerasft.training.store import Store

ARRAYS = {"kernel": np.arange(12, dtype="float32").reshape(3, 4), "step": np.array(7, "int64")}


@pytest.fixture
def saved(tmp_path):
    """A store with checkpoints of the steps 1 and 2, which know their number."""
    made = Store(str(tmp_path / "checkpoint"))
    for number in (1, 2):
        made.save(number, ARRAYS, {"number": number})
    made.wait()
    return made


def files(made):
    """Returns the paths of all files of the newest checkpoint."""
    folder = made.path(max(made.numbers()))
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def changed(path, change):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    with open(path, "wb") as file:
        file.write(change(content))


def test_what_was_saved_is_read_again(saved):
    found = saved.newest()
    assert found.words == {"number": 2} and "kernel" in found.arrays and "bias" not in found.arrays
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype and found.arrays[name].shape == array.shape


@pytest.mark.parametrize("shape", [(), (0, 3), (7, 5)])
def test_the_library_reads_what_was_written_in_pieces(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(store, "PIECE", 16)
    types = ["bool", ml_dtypes.bfloat16, "float16", "float32", "float64", "int8", "int16", "int32", "int64"]
    types += ["uint8", "uint16", "uint32", "uint64"]
    arrays = {f"{t}/ä": np.random.default_rng(0).uniform(0, 3, shape).astype(t) for t in map(np.dtype, types)}
    made = Store(str(tmp_path / "checkpoint"))
    made.save(1, arrays, {"text": "“ä”"})
    found = made.newest()
    assert found.words == {"text": "“ä”"} and found.arrays.names == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype and found.arrays[name].shape == array.shape


def test_the_newest_are_kept(saved):
    for number in (3, 10, 9):  # By number: clocks may be set back.
        saved.save(number, ARRAYS, {"number": number})
    saved.wait()
    assert sorted(saved.numbers()) == [9, 10]
    assert saved.newest().words == {"number": 10}


def test_none_is_no_error(tmp_path):
    assert Store(str(tmp_path / "nothing")).newest() is None


def test_written_while_the_caller_goes_on(tmp_path):
    made, array = Store(str(tmp_path / "checkpoint")), np.zeros(1000, "float32")
    made.save(1, {"kernel": array}, {})
    array += 1  # As a step of training does.
    np.testing.assert_array_equal(made.newest().arrays["kernel"], np.zeros(1000))
    made.close()


@pytest.mark.parametrize(
    "array",
    [np.ones((4, 3), "float32"), np.ones((3, 4), "float16"), np.arange(12.0).reshape(4, 3).T, np.ones(())],
    ids=["shape", "type", "order", "number"],
)
def test_arrays_may_change_from_one_checkpoint_to_the_next(saved, array):
    saved.save(3, {"kernel": array, "another": array}, {})
    found = saved.newest().arrays
    for name in ("kernel", "another"):
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
    assert "step" not in found


@pytest.mark.parametrize("file", [0, 1])
def test_every_flipped_bit_is_noticed(saved, file):
    """All bits of the manifest, and a hundred of the state."""
    path = files(saved)[file]
    with open(path, "rb") as opened:
        content = opened.read()
    bits = range(8 * len(content)) if file == 0 else random.Random(0).sample(range(8 * len(content)), 100)
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with open(path, "wb") as opened:
            opened.write(flipped)
        with pytest.warns(UserWarning, match=f"{os.path.basename(path)}.*Going on from .*step-0000000001"):
            assert saved.newest().words == {"number": 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.remove(path),
        lambda path: changed(path, lambda content: b""),
        lambda path: changed(path, lambda content: content[:-1]),
        lambda path: changed(path, lambda content: content + b" "),
        lambda path: changed(path, lambda content: b"[" * 9000),
        lambda path: (os.remove(path), os.mkdir(path)),
    ],
    ids=["removed", "empty", "cut", "longer", "nested", "a folder"],
)
@pytest.mark.parametrize("file", [0, 1])
def test_other_damage_is_noticed(saved, file, damage):
    damage(files(saved)[file])
    with pytest.warns(UserWarning, match="Going on from"):
        assert saved.newest().words == {"number": 1}


def test_exchanged_and_renamed_checkpoints_are_noticed(saved):
    old, new = (os.path.join(saved.path(number), store.STATE) for number in (1, 2))
    shutil.copy(old, new)
    with pytest.warns(UserWarning, match="state.safetensors was changed"):
        assert saved.newest().words == {"number": 1}
    os.rename(saved.path(1), saved.path(3))
    with pytest.raises(UserError, match=r"No checkpoint is whole: .* was renamed: it is that of step 1; .*Received"):
        saved.newest()


def test_another_format_is_told(saved):
    manifest = files(saved)[0]
    with open(manifest, encoding="utf-8") as file:
        own = json.load(file)
    del own["manifest"]
    with open(manifest, "w", encoding="utf-8") as file:
        file.write(store._text({**own, "format": 99}))
    with pytest.warns(UserWarning, match="of format 99, this kerasft reads 1"):
        saved.newest()


def test_a_moved_and_a_copied_store_are_read(saved, tmp_path):
    shutil.copytree(saved.directory, tmp_path / "copy")
    shutil.move(saved.directory, tmp_path / "moved")
    for name in ("copy", "moved"):
        assert Store(str(tmp_path / name)).newest().words == {"number": 2}


@pytest.mark.parametrize("point", ["os.makedirs", "os.mkdir", "builtins.open", "os.fsync", "os.open", "os.rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EMFILE])
def test_a_disk_that_fails_leaves_the_checkpoints_before(saved, monkeypatch, point, number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(point, fail)
        with pytest.raises(UserError, match=rf"(?s){os.strerror(number)}.*needs 0.0 MB, .* are free.*Received"):
            saved.save(3, ARRAYS, {"number": 3})
            saved.wait()
    assert saved.newest().words == {"number": 2}
    saved.save(3, ARRAYS, {"number": 3})
    assert saved.newest().words == {"number": 3}
    assert sorted(os.listdir(saved.directory)) == ["step-0000000002", "step-0000000003"]


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_call(saved, monkeypatch):
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    saved.save(3, ARRAYS, {})
    with pytest.raises(UserError, match="No space"):
        saved.wait()
    saved.wait()


def test_a_reader_never_sees_a_part(saved):
    stop = threading.Event()

    def read():
        reader, found = Store(saved.directory), []
        while not stop.is_set():
            found.append(reader.newest().words["number"])
        return found

    with concurrent.futures.ThreadPoolExecutor() as others, warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = others.submit(read)
        for number in range(3, 60):
            saved.save(number, ARRAYS, {"number": number})
        stop.set()
        found = reading.result()
    assert found and found == sorted(found)
