"""Files that are not what their names say: broken ones are listed once, the others are read alike wherever they are."""

import csv
import io
import os
import resource
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from kerasft.data.base import as_examples
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import _headers, batching, clean, image
from kerasft.pipeline.clean import DataWarning
from kerasft.tasks.image_classification import ImageClassification

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (36, 48, 3), np.uint8)
ROTATED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def encoded(kind, picture=PIXELS, mode=None, **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.convert(mode or picture.mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _headers.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def jpeg_that_claims(width, height):
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def gif_that_claims(width, height, count=1):
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, width, height, 0) + b"\x02\x01\x00\x00"
    return b"GIF89a" + struct.pack("<2H3B", width, height, 0, 0, 0) + frame * count + b";"


def webp_that_claims(width, height, kind):
    chunk = {
        b"VP8X": bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3],
        b"VP8L": b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<2H", width, height),
    }[kind]
    return b"RIFF" + struct.pack("<I", 12 + len(chunk)) + b"WEBP" + kind + struct.pack("<I", len(chunk)) + chunk


def frames(count, size=(48, 36)):
    first, *others = (Image.new("L", size, 7 * number) for number in range(count))
    return {"picture": first, "save_all": True, "append_images": others}


# Lossless ones are compared with Pillow, pixel by pixel; the decoders of JPEG may differ by a few steps.
GOOD = {
    "png": encoded("PNG"),
    "palette png": encoded("PNG", mode="P"),
    "gray png": encoded("PNG", mode="L"),
    "gray png with alpha": encoded("PNG", mode="LA"),
    "alpha png": encoded("PNG", np.dstack([PIXELS, RANDOM.integers(0, 256, (36, 48), np.uint8)])),
    "black and white png": encoded("PNG", mode="1"),
    "1x1 png": encoded("PNG", PIXELS[:1, :1]),
    "1x300 png": encoded("PNG", RANDOM.integers(0, 256, (1, 300, 3), np.uint8)),
    "gif": encoded("GIF", mode="P"),
    "bmp": encoded("BMP"),
    "gray bmp": encoded("BMP", mode="L"),
    "webp": encoded("WEBP", lossless=True),
    "webp with alpha": encoded("WEBP", mode="RGBA", lossless=True),
    "1x1 webp": encoded("WEBP", PIXELS[:1, :1], lossless=True),
    "jpeg": encoded("JPEG", quality=95),
    "progressive jpeg": encoded("JPEG", quality=95, progressive=True),
    "gray jpeg": encoded("JPEG", mode="L"),
    "1x1 jpeg": encoded("JPEG", PIXELS[:1, :1]),
    "rotated jpeg": encoded("JPEG", quality=95, exif=ROTATED),
    "rotated png": encoded("PNG", exif=ROTATED[6:]),
    "lossy webp": encoded("WEBP"),
    "cmyk jpeg": encoded("JPEG", mode="CMYK"),
    "16-bit png": encoded("PNG", RANDOM.integers(0, 65536, (36, 48), np.uint16)),
    "animated gif": encoded("GIF", **frames(3)),
}
LOSSLESS = list(GOOD)[:14]
BAD = {
    "0 bytes": (b"", "is empty: 0 bytes"),
    "blanks": (b" \n", "cannot be decoded"),
    "text": (b"GIF? no", "cannot be decoded"),
    "html": (b"<html><body>404</body></html>", "cannot be decoded"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be decoded"),
    "tiff": (encoded("TIFF"), "cannot be decoded"),
    "zip": (b"PK\x03\x04" + bytes(99), "cannot be decoded"),
    "truncated jpeg": (encoded("JPEG")[:-200], "cannot be decoded"),
    "truncated png": (encoded("PNG")[:-200], "cannot be decoded"),
    "truncated gif": (encoded("GIF", mode="P")[:-200], "cannot be decoded"),
    "truncated bmp": (encoded("BMP")[:-200], "cannot be decoded"),
    "truncated webp": (encoded("WEBP")[:-200], "cannot be decoded"),
    "only a head of a gif": (b"GIF89a\x01\x00", "cannot be decoded"),
    "only a head of a webp": (b"RIFF\x10\0\0\0WEBPVP8L", "cannot be decoded"),
    "flipped png": (encoded("PNG")[:200] + b"\xff" + encoded("PNG")[201:], "cannot be decoded"),
    "animated webp": (encoded("WEBP", **frames(3), mode="RGB"), "cannot be decoded"),
    "jpeg xl": (b"\xff\x0a" + bytes(30), "is JPEG XL, which does not say how large it is"),
    "png bomb": (png_that_claims(30_000, 30_000), "has 900,000,000 pixels, more than 100,000,000"),
    "jpeg bomb": (jpeg_that_claims(30_000, 30_000), "has 900,000,000 pixels, more than 100,000,000"),
    "gif bomb": (gif_that_claims(30_000, 30_000), "has 900,000,000 pixels, more than 100,000,000"),
    "gif of many frames": (gif_that_claims(3_000, 3_000, 34), "has 102,000,000 pixels, more than 100,000,000"),
    "webp bomb": (webp_that_claims(16_000, 16_000, b"VP8 "), "has 256,000,000 pixels, more than 100,000,000"),
    "lossless webp bomb": (webp_that_claims(16_000, 16_000, b"VP8L"), "has 256,000,000 pixels, more than 100,000,000"),
    "extended webp bomb": (webp_that_claims(16_000, 16_000, b"VP8X"), "has 256,000,000 pixels, more than 100,000,000"),
}
NO_FILES = {"folder": "is a folder", "loop": "cannot be read (", "dangling": "is missing: there is no such file"}
NO_FILES |= {"pipe": "is no file", "device": "is no file", "huge": "has 600,000,000 bytes, more than 500,000,000"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of two labels; every file in it is called .jpg."""
    root = tmp_path_factory.mktemp("photos")
    for number, name in enumerate([*GOOD, *BAD]):
        path = root / "ab"[number % 2] / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(GOOD[name] if name in GOOD else BAD[name][0])
    (root / "a/folder.jpg").mkdir()
    os.symlink("loop.jpg", root / "a/loop.jpg")
    os.symlink("gone", root / "a/dangling.jpg")
    os.mkfifo(root / "a/pipe.jpg")
    os.symlink("/dev/zero", root / "a/device.jpg")
    with open(root / "a/huge.jpg", "wb") as file:
        file.write(encoded("JPEG"))
        file.truncate(600_000_000)
    return root


def test_a_training_leaves_the_broken_files_out_and_lists_each_once(folder, make_tiny, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tuner = FineTuner("image_classification", make_tiny("efficientnet"), learning_rate=1e-3, precision="float32")
    with pytest.warns(DataWarning, match=rf"{len(BAD) + len(NO_FILES)} of {len(GOOD) + len(BAD) + len(NO_FILES)} rows"):
        history = tuner.fit(str(folder), max_bad_rows=0.6, epochs=2, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(history.history["loss"]).all()
    with open(tmp_path / "run/quarantine.csv", encoding="utf-8", newline="") as file:
        listed = {Path(row["received"].strip("'")).stem: row for row in csv.DictReader(file)}
    assert sorted(listed) == sorted([*BAD, *NO_FILES])
    for name, reason in ({name: reason for name, (_, reason) in BAD.items()} | NO_FILES).items():
        assert listed[name]["reason"].startswith(reason), (name, listed[name])
        assert listed[name]["column"] == "image" and listed[name]["origin"] == folder.name
    assert len({row["row"] for row in listed.values()}) == len(listed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * 1024  # KB


def test_no_permission(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # Tests may run as root, who is refused nothing.
    frame = as_examples(ImageClassification().frame_of([str(folder / "a/png.jpg")]), "pets")
    (problem,) = clean.image_problems(frame, "image")
    assert str(problem).startswith("pets, row 1: image cannot be read (Permission denied). Received: '/")


@pytest.mark.parametrize("name", GOOD)
def test_pixels_are_those_of_pillow(name):
    ours = image.decode(GOOD[name]).numpy().astype(int)
    theirs = Image.open(io.BytesIO(GOOD[name]))
    if name == "16-bit png":
        theirs = Image.fromarray((np.asarray(theirs) >> 8).astype(np.uint8))
    if name.endswith("alpha") or name.startswith("alpha"):
        theirs = theirs.convert("RGBA")  # Transparency is left out; what is below it shows.
    theirs = np.asarray(theirs.convert("RGB")).astype(int)
    assert ours.shape == theirs.shape
    if name in LOSSLESS:
        np.testing.assert_array_equal(ours, theirs)
    elif name != "cmyk jpeg":  # Without a profile, there is no one way to make RGB of it.
        assert abs(ours - theirs).mean() < 2


@pytest.mark.parametrize("name", ["rotated jpeg", "rotated png"])
def test_the_orientation_in_exif_is_not_read(name):
    stored = Image.open(io.BytesIO(GOOD[name]))
    assert ImageOps.exif_transpose(stored).size == (36, 48) and stored.size == (48, 36)
    assert image.decode(GOOD[name]).shape == (36, 48, 3)


class Pixels(ImageClassification):
    """Answers with what the backbone is given."""

    def decode(self, outputs):
        return {"pixels": outputs}


def test_fit_predict_and_saved_model_see_the_same_pixels(folder, make_tiny, tmp_path):
    tuner = FineTuner(Pixels(labels=["a", "b"]), make_tiny("efficientnet"))
    given = keras.Input((32, 32, 3))
    tuner.__dict__["model"] = keras.Model(given, keras.layers.Flatten()(given))
    paths = [str(next(folder.glob(f"*/{name}.jpg"))) for name in GOOD]
    frame = tuner.task.prepare(as_examples(tuner.task.frame_of(paths).assign(label=["a", "b"] * 12), "pets"))
    examples = tuner.task.examples(frame, tuner.preprocessor)
    batches = batching.dataset(examples, lambda: batching.ordered_batches(examples, 5))
    fitted = np.concatenate([inputs.numpy() for inputs, _ in batches]).reshape(len(paths), -1)
    served = tf.saved_model.load(tuner.export(str(tmp_path / "1"))).signatures["serving_default"]
    answered = served(image_bytes=tf.constant(list(GOOD.values())))["pixels"].numpy()
    np.testing.assert_array_equal(tuner.predict(paths)["pixels"], fitted)
    np.testing.assert_array_equal(tuner.predict(list(GOOD.values()))["pixels"], fitted)
    np.testing.assert_allclose(answered, fitted, atol=1e-5)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_headers_say_what_pillow_finds(kind):
    for size in [(1, 1), (7, 300), (640, 480)]:
        for options in [{}, {"lossless": True}, {"exif": ROTATED}]:
            content = encoded(kind, Image.new("RGB", size), **options)
            assert _headers.pixels(content) == size[0] * size[1]


def test_frames_of_a_gif_count_a_third():
    assert _headers.pixels(encoded("GIF", **frames(2, (30, 10)))) == 300
    assert _headers.pixels(encoded("GIF", **frames(9, (30, 10)))) == 900
