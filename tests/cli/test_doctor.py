import builtins
import importlib.metadata

import pytest

from kerasft.cli import doctor


@pytest.fixture
def installed(monkeypatch):
    """Lets the test say which versions are installed."""
    versions = {name: "1.0" for name in (*doctor.NEEDED, *doctor.USED)}
    versions |= {"tensorflow": "2.21.0", "tensorflow-text": "2.21.1"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return versions


def marks(findings):
    return [finding.mark for finding in findings]


def test_what_is_installed_here_is_fine():
    findings = list(doctor.versions())
    assert findings[0].text.startswith("python 3.")
    assert any(finding.text.startswith("tensorflow 2.") for finding in findings)
    assert doctor.BAD not in marks(findings)


def test_missing_packages_are_told_with_what_installs_them(installed):
    del installed["keras-hub"], installed["tensorboard"]
    found = {finding.text: finding for finding in doctor.versions()}
    assert found["keras-hub is not installed"].mark == doctor.BAD
    assert found["keras-hub is not installed"].mend.endswith("-m pip install 'keras-hub'")
    assert found["tensorboard is not installed"].mark == doctor.NOTE


def test_conflicts(installed, monkeypatch):
    assert list(doctor.conflicts()) == []
    installed.update({"tensorflow-text": "2.20.1", "tensorflow-cpu": "2.21.0", "torch": "2.9"})
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    text, copy, backend, torch = doctor.conflicts()
    assert text.mark == copy.mark == backend.mark == doctor.BAD
    assert "tensorflow-text==2.21.*" in text.mend
    assert copy.mend == (
        "pip uninstall -y tensorflow-cpu && pip install --force-reinstall --no-deps tensorflow==2.21.0"
    )
    assert "KERAS_BACKEND is jax" in backend.text
    assert torch == (doctor.NOTE, "torch 2.9 is here too; kerasft does not use it", "")


def test_devices_compute():
    findings = list(doctor.devices())
    assert findings[0].text.startswith("CPU:0 multiplies matrices (")
    assert findings[-1].text in ("precision='auto' is float32 here", "precision='auto' is mixed_bfloat16 here")
    assert marks(findings).count(doctor.BAD) == 0


def test_memory_asks_for_room(monkeypatch):
    lines = "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:    1000000 kB\n"
    monkeypatch.setattr(doctor.Path, "read_text", lambda self, encoding: lines)
    (finding,) = doctor.memory()
    assert finding.mark == doctor.NOTE
    assert finding.text == "memory: 1.0 of 8.2 GB free"

    def missing(self, encoding):
        raise FileNotFoundError

    monkeypatch.setattr(doctor.Path, "read_text", missing)
    assert list(doctor.memory()) == []
    assert doctor.cpu_flags() == set()


def test_folders(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "a" / "b"))
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "x").write_bytes(b"x" * 20_000_000)
    cache, runs = doctor.folders()
    assert cache.text.startswith(f"cache: {tmp_path}/a/b, 0.00 GB in it, ")
    assert runs.text.startswith(f"runs: {tmp_path}/saved_models, 0.02 GB in it, ")
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", lambda dir: open(dir / "no" / "where", "wb"))
    assert marks(doctor.folders()) == [doctor.BAD, doctor.BAD]


def test_tools(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: type("Run", (), {"returncode": 1}))
    findings = list(doctor.tools())
    assert marks(findings) == [doctor.NOTE] * 3
    assert findings[2].mend.startswith("apt-get install gcc")


def test_a_broken_tensorflow_is_a_finding_and_no_crash(monkeypatch, capsys):
    really = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "tensorflow":
            raise ImportError("libcudnn.so: cannot open")
        return really(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert doctor.main() == 1
    said = capsys.readouterr().out
    assert "✗ devices could not be looked at: ImportError: libcudnn.so: cannot open" in said
    assert said.endswith("Something above stops kerasft (✗).\n")


def test_all_is_well_is_0(monkeypatch, capsys):
    for name in ("versions", "conflicts", "devices", "memory", "folders"):
        monkeypatch.setattr(doctor, name, lambda: [doctor.Finding(doctor.NOTE, "so so", "do that")])
    assert doctor.main() == 0
    assert capsys.readouterr().out.startswith("! so so\n    → do that\n")
