import io
import os
import resource
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kerasft.data.base import as_examples
from kerasft.pipeline import clean

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def image_problems(*arguments, **options):
    return list(map(str, clean.image_problems(*arguments, **options)))


def table(values):
    column = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        column[index] = value
    return as_examples(pd.DataFrame({"image": column}), "pets")


def encoded(kind, mode="RGB", image=None, **options):
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS).convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + 3 * width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_that_claims(width, height):
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


READABLE = {
    "jpeg": encoded("JPEG"),
    "cmyk jpeg": encoded("JPEG", "CMYK"),
    "grey jpeg": encoded("JPEG", "L"),
    "rotated jpeg": encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "png": encoded("PNG"),
    "palette png": encoded("PNG", "P"),
    "transparent png": encoded("PNG", "RGBA"),
    "16-bit png": encoded("PNG", image=Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)),
    "1x1 png": encoded("PNG", image=Image.new("RGB", (1, 1))),
    "gif": encoded("GIF", "P"),
    "animation": encoded("GIF", "P", save_all=True, append_images=[Image.new("P", (30, 20), 3)]),
    "bmp": encoded("BMP"),
}
BROKEN = {
    "0 bytes": (b"", "is empty: 0 bytes"),
    "text": (b"this is no image at all", "cannot be decoded (Unknown image file format"),
    "tiff": (encoded("TIFF"), "cannot be decoded (Unknown image file format"),
    "cut jpeg": (encoded("JPEG")[:-100], "cannot be decoded ("),
    "jpeg head": (b"\xff\xd8\xff", "cannot be decoded ("),
    "cut png": (encoded("PNG")[:-300], "cannot be decoded ("),
    "png head": (encoded("PNG")[:10], "cannot be decoded ("),
    "cut gif": (encoded("GIF", "P")[:-300], "cannot be decoded ("),
    "cut bmp": (encoded("BMP")[:-300], "cannot be decoded ("),
    "png bomb": (png_that_claims(20_000, 20_000), "has 400,000,000 pixels, more than 100,000,000"),
    "jpeg bomb": (jpeg_that_claims(60_000, 60_000), "has 3,600,000,000 pixels, more than 100,000,000"),
}


def test_readable_files_whatever_their_ending(tmp_path):
    for name, content in READABLE.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    assert image_problems(table([str(path) for path in tmp_path.iterdir()]), "image") == []
    assert image_problems(table(list(READABLE.values())), "image") == []


def test_broken_files_are_each_listed_once(tmp_path):
    paths = [tmp_path / f"{name}.jpg" for name in BROKEN]
    for path, (content, _) in zip(paths, BROKEN.values(), strict=True):
        path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = image_problems(table([str(path) for path in paths]), "image")
    assert len(found) == len(BROKEN)
    for row, (message, path, (_, problem)) in enumerate(zip(found, paths, BROKEN.values(), strict=True), start=1):
        assert message.startswith(f"pets, row {row}: image {problem}"), message
        assert message.endswith(f"Received: {str(path)!r}") and "\n" not in message and "{{" not in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024  # KB


def test_broken_bytes_and_other_values():
    found = image_problems(table([content for content, _ in BROKEN.values()] + [None, float("nan"), 3, [1]]), "image")
    expected = [problem for _, problem in BROKEN.values()]
    expected += ["is missing. Received: None", "is missing. Received: nan", "is not a path", "is not a path"]
    assert all(f"image {problem}" in message for message, problem in zip(found, expected, strict=True)), found
    assert max(map(len, found)) < 1200


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.symlink("gone", tmp_path / "dangling.jpg")
    names = ["folder.jpg", "loop.jpg", "dangling.jpg", "missing.jpg", "nul\0.jpg"]
    found = image_problems(table([str(tmp_path / name) for name in names]), "image")
    expected = ["is a folder", "cannot be read (", "no such file", "no such file", "cannot be read ("]
    assert all(problem in message for message, problem in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    "array, problem",
    [
        (np.zeros((2, 3), np.uint8), None),
        (np.zeros((2, 3, 1), np.uint8), None),
        (np.zeros((2, 3, 4), np.uint8), None),
        (np.full((2, 3, 3), 254, np.float32), None),
        (np.full((2, 3, 3), 254.5, np.float32), "holds fractions; round it to whole numbers, 0 to 255"),
        (np.full((2, 3), 255, np.int64), None),
        (np.zeros(6, np.uint8), "has 1 axes, not (height, width)"),
        (np.zeros((1, 2, 3, 3), np.uint8), "has 4 axes"),
        (np.zeros((2, 3, 2), np.uint8), "has 2 channels, not 1, 3 or 4"),
        (np.zeros((3, 8, 9), np.uint8), "has 9 channels"),
        (np.zeros((0, 3), np.uint8), "is empty"),
        (np.array([["a"]]), "does not hold numbers"),
        (np.array([[1.0, np.nan], [3.0, 4.0]]), "holds NaN"),
        (np.array([[1.0, np.inf]]), "holds values outside 0 to 255: 1.0 to inf"),
        (np.array([[-0.5, 2.0]]), "holds values outside 0 to 255: -0.5 to 2.0"),
        (np.array([[0, 256]], np.int32), "holds values outside 0 to 255: 0 to 256"),
    ],
)
def test_arrays(array, problem):
    found = image_problems(table([array]), "image")
    assert found == [] if problem is None else f"pets, row 1: image {problem}" in found[0]
    assert problem is None or found[0].endswith(f"Received: {array.dtype} array of shape {array.shape}")


def test_images_from_0_to_1_are_refused_as_a_whole():
    scaled = (PIXELS / 255).astype(np.float32)
    found = image_problems(table([scaled, PIXELS, scaled]), "image")
    assert ["row 1: image has no pixel above 1" in found[0], "row 3" in found[1], len(found)] == [True, True, 2]
    assert "multiply by 255" in found[0]
    (found,) = image_problems(table([scaled, PIXELS.astype(np.float32)]), "image")
    assert "row 1: image holds fractions; round it to whole numbers, 0 to 255. Received: float32 array" in found
    assert image_problems(table([np.zeros((2, 2), np.float32)]), "image") == []


def test_progress_ends_with_all():
    calls = []
    image_problems(table([PIXELS] * 150), "image", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (150, 150) and [done for done, _ in calls] == sorted({done for done, _ in calls})


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_ten_thousand_arrays(dtype):
    frame = table(list(np.full((10_000, 28, 28), 9, dtype)))
    assert image_problems(frame, "image") == []
