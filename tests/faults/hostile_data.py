"""Data, images, recipes, logits and adapters: bombs, nesting, pickles, tags; and odd files that must be read."""

import gzip
import io
import json
import os
import struct
import zlib

import numpy as np

from tests.faults.hostile import Case, load_data, read_recipe
from tests.faults.whole import Canary, pickled


def cases():
    """Yields the cases."""
    for what, (name, content) in DATA.items():
        yield Case(f"data: {what}", _written(name, content), load_data)
    for what, (name, content) in ODD.items():
        yield Case(f"data: {what}", _written(name, content), load_data, is_harmless=True)
    for ending in (".pkl", ".pickle", ".joblib", ".npy", ".npz", ".bin", ".pt"):
        yield Case(f"data: pickle as {ending}", pickled(f"data{ending}"), load_data)
    for what, content in IMAGES.items():
        yield Case(f"image: {what}", _written("image.png", content), _use_image)
    for what, text in RECIPES.items():
        yield Case(f"YAML: {what}", _written("recipe.yaml", text), read_recipe)
    for what, text in ODD_RECIPES.items():
        yield Case(f"YAML: {what}", _written("recipe.yaml", text), read_recipe, is_harmless=True)
    for what, content in LOGITS.items():
        yield Case(f"npy: {what}", _written("logits.npy", content), _read_logits)
    for what, files in ADAPTERS.items():
        yield Case(f"adapter: {what}", _folder(files), _read_adapter)


def _use_image(path):
    from kerasft.tasks import ImageClassification

    task = ImageClassification(labels=["a", "b"])
    return task.prepare(task.frame_of(str(path)), with_targets=False)


def _read_logits(path):
    from kerasft.objectives import _teacher

    return _teacher.read_logits(str(path))


def _read_adapter(path):
    from kerasft.methods import LoRA

    return LoRA.from_peft(path)


def _written(name, content):
    def make(whole, folder):
        value = content() if callable(content) else content
        (folder / name).write_bytes(value.encode() if isinstance(value, str) else value)
        return folder / name

    return make


def _folder(files):
    def make(whole, folder):
        made = folder / "adapter"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return made

    return make


def _png(width, height):
    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def _picture(kind, width, height, **options):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg():
    encoded = bytearray(_picture("JPEG", 8, 8))
    start = encoded.index(b"\xff\xc0") + 5
    encoded[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(encoded)


def _gif():
    from PIL import Image

    frames = [Image.new("P", (3000, 3000), color) for color in range(40)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _webp():
    return _picture("WEBP", 12_000, 12_000, lossless=True, method=0)


IMAGES = {
    "PNG of 30,000 x 30,000": _png(30_000, 30_000),
    "PNG of 2^31": _png(2**31 - 1, 2**31 - 1),
    "JPEG of 60,000 x 60,000": _jpeg,
    "GIF of 40 frames": _gif,
    "WebP of 12,000 x 12,000": _webp,
    "cut": _png(10, 10)[:40],
    "pickle": b"cos\nsystem\n(S'touch canary'\ntR.",
    "nothing": b"",
    "SVG": "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
}


def _idx(count, rows, columns, data=b""):
    return bytes([0, 0, 8, 3]) + struct.pack(">III", count, rows, columns) + data


def _npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10))
    return buffer.getvalue()


def _npy(array=None, header=None):
    buffer = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(buffer, header)
    else:
        np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


LOGITS = {
    "objects": lambda: _npy(np.array([Canary(os.getcwd())], dtype=object)),
    "40 TB in the header": lambda: _npy(header={"descr": "<f4", "fortran_order": False, "shape": (10**13,)}),
    "overflow in the header": lambda: _npy(header={"descr": "<f4", "fortran_order": False, "shape": (2**62, 2**62)}),
    "a shape below 0": lambda: _npy(header={"descr": "<f4", "fortran_order": False, "shape": (-1,)}),
    "strings": lambda: _npy(np.array(["a"])),
    "an archive": _npz,
    "a header that is code": b"\x93NUMPY\x01\0\x20\0__import__('os').system('id')   \n",
    "a pickle": b"cos\nsystem\n(S'touch canary'\ntR.",
    "nothing": b"",
}
DATA = {
    "CSV with a NUL": ("a.csv", "text,label\na\0b,1\n"),
    "CSV with an open quote": ("a.csv", 'text,label\n"a,1\n' * 3 + '"'),
    "CSV in two encodings": ("a.csv", "text,label\né,1\n".encode() + "é,1\n".encode("latin-1")),
    "CSV in UTF-16": ("a.csv", "text,label\na,1\n".encode("utf-16")),
    "CSV that is gzip": ("a.csv", lambda: gzip.compress(bytes(50 * 2**20))),
    "CSV, gzip by name": ("a.csv.gz", lambda: gzip.compress(b"text,label\na,1\n")),
    "CSV with ragged rows": ("a.csv", "text,label\na,1,2\n"),
    "CSV with a column twice": ("a.csv", "text,text\na,1\n"),
    "CSV that is empty": ("a.csv", ""),
    "JSON lines nested": ("a.jsonl", "[" * 100_000),
    "JSON lines nested 200 deep": ("a.jsonl", '{"a":' * 200 + "1" + "}" * 200),
    "JSON lines with NaN": ("a.jsonl", '{"text": NaN}'),
    "JSON lines with a key twice": ("a.jsonl", '{"text": "a", "text": "b"}'),
    "JSON lines with 10^6 digits": ("a.jsonl", '{"text": ' + "9" * 10**6 + "}"),
    "JSON lines of lists": ("a.jsonl", "[1]\n[2]\n"),
    "Parquet cut": ("a.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    "Parquet of nothing": ("a.parquet", b""),
    "zip": ("a.zip", b"PK\x05\x06" + bytes(18)),
    "TFRecord": ("a.tfrecord", struct.pack("<Q", 2**60) + bytes(20)),
    "tar": ("a.tar.gz", lambda: gzip.compress(bytes(10_240))),
}
ODD = {
    "CSV with a field of 200 KB": ("a.csv", "text,label\n" + "a" * 200_000 + ",1\n"),
    "CSV of 100,000 columns": ("a.csv", lambda: ",".join(map(str, range(10**5))) + "\n" + ",".join("a" * 10**5) + "\n"),
    "CSV with formulas": ("a.csv", "text,label\n=1+1,-0.5\n"),
    "CSV with a byte order mark and CRLF": ("a.csv", b"\xef\xbb\xbftext,label\r\na,1\r\n"),
}
RECIPES = {
    "a call": "!!python/object/apply:os.system [touch canary]",
    "a name": "a: !!python/name:os.system",
    "a module": "a: !!python/module:os",
    "a new object": "a: !!python/object/new:os.system [touch canary]",
    "an alias": "a: &a [x]\nb: *a",
    "an alias bomb": "a: &a [x, x]\n" + "".join(f"{n}: &a{n} [*a, *a, *a]\n" for n in range(20)),
    "an alias of itself": "a: &a [*a]",
    "a merge of itself": "a: &a\n  <<: *a",
    "a key twice": "a: 1\na: 2",
    "nested 20,000 deep": "[" * 20_000,
    "a mapping nested": "{a: " * 5_000,
    "10^6 digits": "a: " + "9" * 10**5,
    "a list": "[1, 2]",
    "a bad timestamp": "a: !!timestamp x",
    "a bad number": "a: !!int ''",
    "a bad boolean": "a: !!bool x",
    "a bad binary": "a: !!binary é",
    "an omap of none": "a: !!omap x",
    "a list as a key": "? [a]\n: 1",
    "a set of lists": "a: !!set {? [a]}",
    "control characters": "a: \x01",
    "no UTF-8": b"a: \xff",
    "two documents": "a: 1\n---\nb: 2",
    "an unknown tag": "a: !evil x",
    "2 MB": "a: b\n" * 400_000,
}
ODD_RECIPES = {"a merge key, which is a word": "a: {<<: 1}", "words of YAML 1.1": "a: no\nb: 1e-5"}
ADAPTERS = {
    "config nested": {"adapter_config.json": "[" * 100_000},
    "config of a list": {"adapter_config.json": "[]"},
    "config with a key twice": {"adapter_config.json": '{"r": 1, "r": 2}'},
    "pickled weights": {"adapter_config.json": json.dumps({"peft_type": "LORA", "r": 2}), "adapter_model.bin": b"c"},
    "weights cut": {
        "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 2}),
        "adapter_model.safetensors": b"1",
    },
}
