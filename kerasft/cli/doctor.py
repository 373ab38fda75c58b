"""`kerasft doctor`: what is installed, which devices compute, where files go, and what mends what is wrong."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from kerasft import __version__, cache
from kerasft import memory as memory_of
from kerasft.cli.quiet import load_tensorflow

FINE, NOTE, BAD = "✓", "!", "✗"
NEEDED = ("tensorflow", "tensorflow-text", "keras", "keras-hub")
USED = ("keras-nlp", "keras-cv", "keras-tuner", "tensorflow-datasets", "transformers", "tensorboard")
GIGABYTE = 1e9


class Finding(NamedTuple):
    """A line of the report, and what to type where something is wrong."""

    mark: str
    text: str
    mend: str = ""

    def __str__(self):
        return f"{self.mark} {self.text}" + (f"\n    → {self.mend}" if self.mend else "")


def main():
    """Prints every finding as it is made; returns the exit code: 1 if anything is wrong that stops kerasft."""
    is_bad = False
    for check in (versions, conflicts, devices, memory, folders, tools):
        for finding in _guarded(check):
            print(finding, flush=True)
            is_bad |= finding.mark == BAD
    print("\nSomething above stops kerasft (✗)." if is_bad else "\nkerasft can work here.")
    return int(is_bad)


def _guarded(check):
    """Yields a check's findings, and its failure as one of them: a doctor must not faint."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(BAD, f"{check.__name__} could not be looked at: {type(error).__name__}: {error}")


def versions():
    """Yields Python and the packages that kerasft stands on."""
    is_new = sys.version_info >= (3, 11)
    yield Finding(
        FINE if is_new else BAD, f"python {platform.python_version()}", "" if is_new else "install Python 3.11 or newer"
    )
    yield Finding(FINE, f"kerasft {__version__}")
    for name in (*NEEDED, *USED):
        found = version(name)
        if found:
            yield Finding(FINE, f"{name} {found}")
        else:
            yield Finding(BAD if name in NEEDED else NOTE, f"{name} is not installed", _install(name))


def conflicts():
    """Yields what does not go together: TensorFlow's parts, two copies of it, Keras on another backend."""
    tensorflow, text = version("tensorflow"), version("tensorflow-text")
    if tensorflow and text and _minor(tensorflow) != _minor(text):
        yield Finding(
            BAD,
            f"tensorflow-text {text} is made for TensorFlow {_minor(text)}; {tensorflow} is installed",
            _install(f"tensorflow-text=={_minor(tensorflow)}.*"),
        )
    for name in ("tensorflow-cpu", "tf-nightly"):
        if tensorflow and version(name):
            yield Finding(
                BAD,
                f"{name} {version(name)} is a second copy of TensorFlow in the same folder",
                f"pip uninstall -y {name} && pip install --force-reinstall --no-deps tensorflow=={tensorflow}",
            )
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        yield Finding(BAD, f"KERAS_BACKEND is {backend}; kerasft needs tensorflow", "export KERAS_BACKEND=tensorflow")
    if version("torch"):
        yield Finding(NOTE, f"torch {version('torch')} is here too; kerasft does not use it")


def devices():
    """Yields each device after a product of matrices on it, and the precision that training would choose."""
    load_tensorflow()
    import numpy as np
    import tensorflow as tf

    from kerasft.training import precision

    a, b = np.random.default_rng(0).normal(size=(2, 256, 256)).astype("float32")
    for device in tf.config.list_logical_devices():
        begin = time.monotonic()
        with tf.device(device.name):
            product = tf.matmul(a, b).numpy()
        milliseconds = 1000 * (time.monotonic() - begin)
        # GPUs may round to TF32, 10 bits of mantissa.
        is_right = np.allclose(product, a @ b, atol=0.3)
        text = f"{device.name.removeprefix('/device:')} multiplies matrices"
        yield Finding(FINE, f"{text} ({milliseconds:.0f} ms)") if is_right else Finding(BAD, f"{text} wrongly")
    flags = sorted(cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
    yield Finding(FINE, f"{os.cpu_count()} CPU cores, {', '.join(flags) or 'no AVX2'}")
    if shutil.which("nvidia-smi") and not tf.config.list_physical_devices("GPU"):
        yield Finding(NOTE, "there is an NVIDIA driver, but TensorFlow sees no GPU", _install("tensorflow[and-cuda]"))
    yield Finding(FINE, f"precision='auto' is {precision.resolve('auto')} here")


def memory():
    """Yields the memory that is free, on Linux."""
    found = memory_of.free()
    if found is None:
        return
    free, total = found
    mark, mend = (NOTE, "close other programs, or fit with a smaller batch_size") if free < 2 * GIGABYTE else (FINE, "")
    yield Finding(mark, f"memory: {free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free", mend)


def folders():
    """Yields where files go, whether they may, and how much room there is."""
    for what, folder, mend in (
        ("cache", cache.folder(), "export KERASFT_HOME=<a folder of yours>"),
        ("runs", Path("saved_models").absolute(), "work in a folder of yours, or name one: directory=<folder>"),
    ):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
        if not _is_writable(there):
            yield Finding(BAD, f"{what}: {folder} cannot be written", mend)
            continue
        free = shutil.disk_usage(there).free
        text = f"{what}: {folder}, {size / GIGABYTE:.2f} GB in it, {free / GIGABYTE:.0f} GB free"
        yield (
            Finding(NOTE, text, "free some room, or name another disk") if free < 5 * GIGABYTE else Finding(FINE, text)
        )


def tools():
    """Yields the programs that some commands start."""
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0
    yield _tool(pip, "pip, which fetches starter: backbones", f"{sys.executable} -m ensurepip")
    beside = Path(sys.executable).with_name("tensorboard")
    yield _tool(beside.exists() or shutil.which("tensorboard"), "tensorboard, to watch runs", _install("tensorboard"))
    yield _tool(shutil.which("gcc"), "gcc, which compiles the check of exports in C", "apt-get install gcc libc6-dev")


def version(package):
    """Returns the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_flags():
    """Returns what the CPU can do, as Linux lists it, or an empty set."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _tool(is_there, text, mend):
    return Finding(FINE, text) if is_there else Finding(NOTE, f"missing: {text}", mend)


def _install(requirement):
    return f"{sys.executable} -m pip install '{requirement}'"


def _minor(number):
    return ".".join(number.split(".")[:2])


def _is_writable(folder):
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
