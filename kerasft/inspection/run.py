"""The JSON files of a run folder: types, places and digests, before anything is made of what they say."""

import os
import re

from kerasft import files
from kerasft.errors import UserError
from kerasft.inspection import json_file
from kerasft.inspection.limits import refused

FORMAT = 1
MANIFEST: dict[str, type | tuple[type, ...]] = {
    **{"format": int, "is_delta": bool, "base": (str, type(None)), "facts": dict},
    **{"versions": dict, "saved": str, "sha256": dict},
}
# What reading a run needs, whatever else the manifest names.
NEEDED = ("architecture/architecture.json", "history.json", "labels.json", "recipe.yaml", "weights.safetensors")
FOLDERS = ("architecture", "samples")


def is_part(name):
    """True for the files of a run folder that its model is made of; reports, logs and exports live their own lives."""
    name = name.replace(os.sep, "/")
    return name in NEEDED or name.split("/")[0] in FOLDERS


def manifest(directory):
    """Returns the manifest of a run folder after checking the SHA-256 of every file that its model is made of.

    Raises: UserError if there is none, it is not as kerasft writes it, or a file is missing, changed or a link.
        So it is if `architecture/` or `samples/` has a file more.
    """
    path = os.path.join(directory, "manifest.json")
    if not os.path.isfile(path):
        raise UserError(f"No finished run in this folder: it has no manifest.json. Received: directory={directory!r}")
    found = json_file.read(path)
    _check_manifest(found, path)
    for name, digest in found["sha256"].items():
        if not is_part(name):  # Earlier manifests name reports, too.
            continue
        file_path = os.path.join(directory, name)
        # A file reached through a link lies outside of the folder.
        inside = os.path.realpath(file_path) == os.path.join(os.path.realpath(directory), name)
        if not inside or not os.path.isfile(file_path) or files.sha256(file_path) != digest:
            raise UserError(f"{file_path} is missing or was changed since it was saved. Received: {file_path!r}")
    for name in _made_of(directory):
        if name not in found["sha256"]:
            raise refused(path, "the manifest does not name this file, from which the model would be made", name)
    return found


def history(directory):
    """Returns what was measured epoch by epoch, lists by name; a loss that diverged is NaN. Raises UserError."""
    path = os.path.join(directory, "history.json")
    found = json_file.read(path, allow_nan=True)
    if not isinstance(found, dict) or not all(isinstance(values, list) for values in found.values()):
        raise refused(path, "it must hold lists by name", found)
    return found


def check_labels(directory, labels):
    """Raises UserError unless `labels.json`, which others read, has the labels of the recipe, which kerasft reads."""
    path = os.path.join(directory, "labels.json")
    found = json_file.read(path)
    if found != labels:
        raise refused(path, "these are not the labels in recipe.yaml", found)


def _check_manifest(found, path):
    given = found.get("format") if isinstance(found, dict) else None
    if given != FORMAT:
        raise UserError(f"{path}: this kerasft reads run format {FORMAT}. Received: format={given!r}")
    for key, kinds in MANIFEST.items():
        if not isinstance(found.get(key), kinds):
            raise refused(path, f"{key} is missing or of another type", found.get(key))
    for name, digest in found["sha256"].items():
        if not _stays_inside(name) or not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise refused(path, "sha256 must have the SHA-256 of files in this folder", {name: digest})
    names = {name.replace(os.sep, "/") for name in found["sha256"]}
    if missing := [name for name in NEEDED if name not in names]:
        raise refused(path, "sha256 lacks files that every run has", ", ".join(missing))


def _made_of(directory):
    """Yields the names of all files, and links to folders, in the folders that are read as a whole."""
    for folder in FOLDERS:
        for root, folders, names in os.walk(os.path.join(directory, folder)):
            links = [name for name in folders if os.path.islink(os.path.join(root, name))]
            yield from (os.path.relpath(os.path.join(root, name), directory) for name in (*names, *links))


def _stays_inside(name):
    parts = name.replace(os.sep, "/").split("/")
    return not any(part in ("", ".", "..") or re.search(r"[\\:\0]", part) for part in parts)
