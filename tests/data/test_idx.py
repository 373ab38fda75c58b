import gzip
import struct

import numpy as np
import pytest

from kerasft.data.base import load
from kerasft.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4), np.uint8)
LABELS = np.array([7, 0, 255, 1, 1], np.uint8)


def idx(array):
    """The format as its page describes it: 0, 0, type, rank, then the lengths as big-endian 32-bit numbers."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.fixture(params=["", ".gz"])
def mnist(request, tmp_path):
    write = gzip.compress if request.param else bytes
    folder = tmp_path / "mnist"
    folder.mkdir()
    for prefix, images, labels in (("train", PIXELS, LABELS), ("t10k", PIXELS[:2] // 2, LABELS[:2])):
        (folder / f"{prefix}-images-idx3-ubyte{request.param}").write_bytes(write(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte{request.param}").write_bytes(write(idx(labels)))
    return folder


def test_folder(mnist):
    frame = load(mnist)
    assert frame.attrs["origin"].startswith("mnist/train-images-idx3-ubyte")
    np.testing.assert_array_equal(np.stack(frame["image"]), PIXELS)
    assert frame["label"].tolist() == LABELS.tolist() and frame.index.tolist() == [1, 2, 3, 4, 5]
    test = load({"name": "idx", "path": mnist, "split": "test"})
    np.testing.assert_array_equal(np.stack(test["image"]), PIXELS[:2] // 2)


def test_images_are_views_of_one_array(mnist):
    first, *others = load(mnist)["image"]
    assert first.base is not None and all(image.base is first.base for image in others)


def test_files_and_limit(mnist):
    images, labels = sorted(mnist.glob("train*"))
    frame = load({"name": "idx", "images": images, "labels": labels, "limit": 2})
    np.testing.assert_array_equal(np.stack(frame["image"]), PIXELS[:2])
    assert frame["label"].tolist() == [7, 0]
    assert list(load({"name": "idx", "images": str(images), "limit": 99}).columns) == ["image"]


def change(folder, pattern, edit):
    path = next(folder.glob(pattern))
    zipped = path.suffix == ".gz"
    content = edit(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize(
    "pattern, edit, words",
    [
        ("train-images*", lambda file: file[:-1], ["shorter than its header says", "Received: (5, 3, 4)"]),
        ("train-images*", lambda file: file + b"x", ["longer than its header says"]),
        ("train-images*", lambda file: file[:7], ["not an IDX file", "rank 3"]),
        ("train-images*", lambda file: b"", ["not an IDX file"]),
        ("train-images*", lambda file: b"\0\0\x0d" + file[3:], ["not an IDX file", "Received: 00 00 0d 03"]),
        ("train-images*", lambda file: idx(LABELS), ["not an IDX file", "Received: 00 00 08 01"]),
        ("train-images*", lambda file: file[:4] + b"\xff" * 12 + file[16:], ["shorter than its header", "4294967295"]),
        ("train-labels*", lambda file: idx(LABELS[:4]), ["same length", "Received: 5 images and 4 labels"]),
    ],
)
def test_broken_files_are_refused(mnist, pattern, edit, words):
    change(mnist, pattern, edit)
    with pytest.raises(UserError) as error:
        load(mnist)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "edit", [lambda file: file[:-12], lambda file: b"plain" + file, lambda file: file[:45] + b"\xff" * 9]
)
def test_broken_gzip_is_refused(tmp_path, edit):
    path = tmp_path / "images.gz"
    path.write_bytes(edit(gzip.compress(idx(PIXELS))))
    with pytest.raises(UserError, match="images.gz is not a whole gzip file.*Received"):
        load({"name": "idx", "images": path})


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({}, ["path (a folder) or images", "Received: path=None, images=None"]),
        ({"split": "validation"}, ["train and test", "Received: split='validation'"]),
        ({"limit": 0}, ["limit must be", "Received: limit=0"]),
    ],
)
def test_wrong_arguments_are_named(mnist, arguments, words):
    with pytest.raises(UserError) as error:
        load({"name": "idx", **({"path": mnist} if arguments else {}), **arguments})
    assert all(word in str(error.value) for word in words), str(error.value)


def test_folder_without_labels_says_what_it_lacks(mnist):
    next(mnist.glob("train-labels*")).unlink()
    with pytest.raises(
        UserError, match="mnist must hold train-images-idx3-ubyte and train-labels-idx1-ubyte.*Received"
    ):
        load(mnist)
