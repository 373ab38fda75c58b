import builtins
import io

import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.training import precision

FLAGS = "processor : 0\nflags\t\t: fpu avx512f {} sse\nbugs : none\n"


@pytest.fixture
def machine(monkeypatch):
    """A function that pretends to be a machine with these devices and processor flags."""

    def pretend(tpus=0, capabilities=(), flags=""):
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * tpus if kind == "TPU" else [])
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(capabilities))
        details = lambda gpu: {"compute_capability": gpu} if gpu else {}  # noqa: E731
        monkeypatch.setattr(tf.config.experimental, "get_device_details", details)

        def open_file(path, *args, **kwargs):
            assert path == "/proc/cpuinfo"
            if flags is None:
                raise OSError("no such file")
            return io.StringIO(FLAGS.format(flags))

        monkeypatch.setattr(builtins, "open", open_file)
        found = precision.resolve("auto")
        monkeypatch.undo()
        return found

    return pretend


def test_auto_asks_the_hardware(machine):
    assert machine(tpus=8) == "mixed_bfloat16"
    assert machine(capabilities=[(8, 0), (9, 0)]) == "mixed_bfloat16"
    assert machine(capabilities=[(8, 0), (7, 5)]) == "float32"
    assert machine(capabilities=[None]) == "float32"
    assert machine(flags="avx512_bf16") == "mixed_bfloat16"
    assert machine(flags="amx_bf16") == "mixed_bfloat16"
    assert machine(flags="avx2") == "float32"
    assert machine(flags=None) == "float32"


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_policy_is_taken_as_it_is(name):
    assert precision.resolve(name) == name


@pytest.mark.parametrize(("name", "close"), [("bf16", ""), ("mixed_bfloat", "'mixed_bfloat16'"), (16, ""), (None, "")])
def test_others_are_refused(name, close):
    with pytest.raises(UserError, match=rf"precision must be one of .*{close}.*Received: {name!r}"):
        precision.resolve(name)
