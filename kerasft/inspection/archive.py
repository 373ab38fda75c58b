"""`.keras` files: zip archives, refused as a whole if one entry is not as Keras writes it."""

import contextlib
import io
import os
import re
import stat
import unicodedata
import zipfile
import zlib

from kerasft.errors import UserError
from kerasft.inspection.limits import ENTRIES, NAME_LENGTH, check_file, declared_bytes, refused

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# One rule for every way out of a folder: `..`, `/x`, `C:x`, `a\b`, `%2e`, dots of other alphabets, NUL, spaces.
PART = r"\w(?:[\w.-]*[\w-])?"
ASSET = re.compile(rf"assets/(?:{PART}/)*(?:{PART}\.(?:txt|json|spm))?")
DIRECTORY_BYTES = ENTRIES * 400  # 46 for an entry, the rest for names.
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1


class _File(io.FileIO):
    """Gives out no more than a directory's worth at once: `zipfile` reads a directory before anyone can count it."""

    def read(self, size=-1):
        if size > DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes, more than {DIRECTORY_BYTES:,}")
        return super().read(size)


def check(path):
    """Raises UserError unless every entry of the archive is one that Keras writes, whole, once and of fair size."""
    check_file(path, "file")
    with _File(path) as file, _opened(path, file) as archive:
        entries, stored = archive.infolist(), os.path.getsize(path)
        if len(entries) > ENTRIES:
            raise refused(path, f"an archive may have {ENTRIES:,} entries at most", f"{len(entries):,}")
        for entry in entries:
            if problem := _problem(entry):
                raise refused(path, f"an entry {problem}", entry.orig_filename)
        _check_together(path, entries, stored)


def read(path, name):
    """Returns the bytes of an entry. Raises UserError if it cannot be read, or is another than its checksum says."""
    with _opened(path, path) as archive:
        return archive.read(name)


@contextlib.contextmanager
def _opened(path, file):
    """Gives the open archive; what goes wrong with it meanwhile is a UserError."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except UserError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise refused(path, "not a whole .keras archive", str(error)) from None


def _problem(entry):
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    if name not in (CONFIG, METADATA, WEIGHTS) and not (len(name) <= NAME_LENGTH and ASSET.fullmatch(name)):
        return f"must be {METADATA}, {CONFIG}, {WEIGHTS} or a .txt, .json or .spm file below assets/"
    if kind not in (0, stat.S_IFDIR if name.endswith("/") else stat.S_IFREG):
        return "is a link, a device or of another kind than its name says"
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by an unknown method, {entry.compress_type}"
    return None


def _check_together(path, entries, stored):
    # On a disk that folds case or composes accents two such names are one file.
    names = [unicodedata.normalize("NFKC", entry.filename).casefold().rstrip("/") for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise refused(path, "two entries have one name", twice)
    if missing := {CONFIG, WEIGHTS} - set(names):
        raise refused(path, f"an archive of Keras holds {CONFIG} and {WEIGHTS}", f"no {', '.join(sorted(missing))}")
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [entry.header_offset + LOCAL_HEADER_BYTES + entry.compress_size for entry in ordered]
    begins = [entry.header_offset for entry in ordered[1:]] + [stored]
    for entry, begin, end in zip(ordered, begins, ends, strict=True):
        if begin < end:
            raise refused(path, "entries overlap, or reach beyond the file", entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > declared_bytes(stored):
        raise refused(path, f"a file of {stored:,} bytes declares too much content", f"{total:,} bytes")
