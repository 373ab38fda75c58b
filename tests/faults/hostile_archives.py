"""`.keras` archives: names that lead out, links, entries that are hidden, doubled, overlapping or too many, bombs."""

import stat
import struct
import zipfile

from tests.faults.hostile import Case, load_backbone
from tests.faults.whole import archive

NAMES = {
    "parent": "../canary.txt",
    "parent within": "assets/../../canary.txt",
    "absolute": "/tmp/canary.txt",
    "drive": "C:/canary.txt",
    "drive alone": "C:canary.txt",
    "UNC": "//server/share/canary.txt",
    "backslash": "..\\canary.txt",
    "backslash within": "assets\\..\\canary.txt",
    "NUL": "assets/a.txt\0.json",
    "NUL and parent": "assets/a.txt\0../../canary",
    "percent": "assets/%2e%2e/canary.txt",
    "percent twice": "assets/%252e%252e/canary.txt",
    "leaders": "assets/\u2024\u2024/canary.txt",
    "full-width dots": "assets/\uff0e\uff0e/canary.txt",
    "full-width slash": "assets/..\uff0fcanary.txt",
    "trailing dot": "assets/a.txt.",
    "trailing space": "assets/a.txt ",
    "trailing dot of a folder": "assets/a./b.txt",
    "dot": "assets/./a.txt",
    "empty part": "assets//a.txt",
    "home": "~/canary.txt",
    "hidden": "assets/.bashrc.txt",
    "stream": "assets/a.txt:b.txt",
    "newline": "assets/a\n.txt",
    "no asset": "setup.py",
    "other weights": "model.weights.npz",
    "SavedModel": "saved_model.pb",
    "pickle": "assets/data.pkl",
    "library": "assets/plugin.so",
    "archive": "assets/inner.zip",
    "archive of Keras": "assets/inner.keras",
}


def cases():
    """Yields the cases."""
    for what, name in NAMES.items():
        yield Case(f"zip: name, {what}", _with(**{"name": name}), load_backbone)
    for what, make in MAKERS.items():
        yield Case(f"zip: {what}", make, load_backbone)
    yield Case("zip: whole", lambda whole, folder: _path(folder, whole.entries()), load_backbone, is_harmless=True)
    assets = {"assets/": b"", "assets/layers/größe_1/vocabulary.txt": b"a"}
    yield Case(
        "zip: with assets",
        lambda whole, folder: _path(folder, whole.entries() | assets),
        load_backbone,
        is_harmless=True,
    )


def _path(folder, entries):
    return archive(folder / "model.keras", entries)


def _with(name):
    return lambda whole, folder: _path(folder, {**whole.entries(), name: b"pwned"})


def _entry(mode=None, method=zipfile.ZIP_STORED, name="assets/a.txt"):
    """Returns a maker of an archive with one entry more, of this kind."""

    def make(whole, folder):
        info = zipfile.ZipInfo(name)
        info.compress_type = method
        if mode is not None:
            info.create_system, info.external_attr = 3, mode << 16
        return _path(folder, {**whole.entries(), info: b"../../canary.txt"})

    return make


def _link_then_write(whole, folder):
    link = zipfile.ZipInfo("assets/folder.txt")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return _path(folder, {**whole.entries(), link: b"/tmp", "assets/folder.txt/canary.txt": b"pwned"})


def _twice(*names):
    def make(whole, folder):
        infos = {zipfile.ZipInfo(name): whole.entries().get(name, b"a") for name in names}
        return _path(folder, {**{k: v for k, v in whole.entries().items() if k not in names}, **infos})

    return make


def _patched(find, offset, value, of="assets/a.txt", content=b"a" * 100):
    """Returns a maker that overwrites bytes after the n-th signature `find` in an archive with one asset more."""

    def make(whole, folder):
        path = _path(folder, {**whole.entries(), of: content})
        encoded = bytearray(path.read_bytes())
        start = encoded.rindex(find) + offset
        encoded[start : start + len(value)] = value
        path.write_bytes(encoded)
        return path

    return make


CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"


def _without(name):
    return lambda whole, folder: _path(folder, {k: v for k, v in whole.entries().items() if k != name})


def _many(count):
    def make(whole, folder):
        return _path(folder, {**whole.entries(), **{f"assets/{n}.txt": b"" for n in range(count)}})

    return make


def _million(whole, folder):
    record = struct.pack("<4s4B4HL2L5H2L", CENTRAL, 20, 3, 20, 0, *[0] * 14)
    directory = record * 1_000_000
    path = folder / "model.keras"
    end = struct.pack("<4s4H2LH", END, 0, 0, 3, 3, len(directory), 0, 0)
    path.write_bytes(directory + end)
    return path


def _bomb(megabytes, name="assets/a.txt"):
    def make(whole, folder):
        path = folder / "model.keras"
        with zipfile.ZipFile(path, "w") as file:
            for key, content in whole.entries().items():
                if key != name:
                    file.writestr(key, content)
            with file.open(_deflated(name), "w") as entry:
                for _ in range(megabytes):
                    entry.write(bytes(2**20))
        return path

    return make


def _deflated(name):
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _ratio_99(whole, folder):
    """100 KB of noise that stand for 80 MB: below the factor of 100 that Keras allows."""
    import random

    noise = random.Random(0).randbytes(820_000)
    info = _deflated("assets/a.txt")
    return _path(folder, {**whole.entries(), info: noise + bytes(80 * 2**20)})


def _overlapping(whole, folder):
    path = _path(folder, {**whole.entries(), "assets/a.txt": b"a" * 50, "assets/b.txt": b"b" * 50})
    encoded = bytearray(path.read_bytes())
    last = encoded.rindex(CENTRAL)
    before = encoded.rindex(CENTRAL, 0, last)
    encoded[last + 42 : last + 46] = encoded[before + 42 : before + 46]
    path.write_bytes(encoded)
    return path


def _cut(whole, folder):
    path = folder / "model.keras"
    path.write_bytes(whole.keras.read_bytes()[:-30])
    return path


def _written(content):
    def make(whole, folder):
        (folder / "model.keras").write_bytes(content)
        return folder / "model.keras"

    return make


def _wrong_checksum(whole, folder):
    path = _path(folder, whole.entries())
    path.write_bytes(path.read_bytes().replace(b'"mine"', b'"mind"', 1))
    return path


def _named_pipe(whole, folder):
    import os

    os.mkfifo(folder / "model.keras")
    return folder / "model.keras"


MAKERS = {
    "symbolic link": _entry(stat.S_IFLNK | 0o777),
    "symbolic link for the config": _entry(stat.S_IFLNK | 0o777, name="config.json"),
    "link, then a file in it": _link_then_write,
    "device": _entry(stat.S_IFCHR | 0o666),
    "pipe": _entry(stat.S_IFIFO | 0o666),
    "file that is a folder": _entry(stat.S_IFREG | 0o666, name="assets/a/"),
    "two configs": _twice("config.json", "config.json"),
    "two weights": _twice("model.weights.h5", "model.weights.h5"),
    "case clash": _twice("assets/a.txt", "assets/A.txt"),
    "accent clash": _twice("assets/\u00e9.txt", "assets/e\u0301.txt"),
    "bzip2": _entry(method=zipfile.ZIP_BZIP2),
    "LZMA": _entry(method=zipfile.ZIP_LZMA),
    "encrypted": _patched(CENTRAL, 8, struct.pack("<H", 1)),
    "unknown method": _patched(CENTRAL, 10, struct.pack("<H", 99)),
    "3.9 GiB declared": _patched(CENTRAL, 24, struct.pack("<L", 3_900 * 2**20)),
    "beyond the file": _patched(CENTRAL, 20, struct.pack("<L", 2**31)),
    "offset beyond the file": _patched(CENTRAL, 42, struct.pack("<L", 2**31)),
    "directory beyond the file": _patched(END, 12, struct.pack("<L", 2**31)),
    "overlapping": _overlapping,
    "10,001 entries": _many(10_001),
    "a million entries": _million,
    "bomb of 100 MB": _bomb(100),
    "bomb in the weights": _bomb(100, "model.weights.h5"),
    "ratio of 99": _ratio_99,
    "no config": _without("config.json"),
    "no weights": _without("model.weights.h5"),
    "cut": _cut,
    "wrong checksum": _wrong_checksum,
    "empty file": _written(b""),
    "no zip": _written(b"PK\x03\x04" + b"x" * 100),
    "end alone": _written(END + bytes(18)),
    "named pipe": _named_pipe,
}
