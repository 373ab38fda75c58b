"""`import kerasft` and the command line start without TensorFlow: seconds matter when one only asks for help."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["kerasft", "kerasft.cli.commands", "kerasft.recipe", "kerasft.registry"])
def test_import_loads_neither_tensorflow_nor_keras(module):
    heavy = {"tensorflow", "keras", "keras_hub", "pandas", "sklearn", "matplotlib"}
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    assert run.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    import kerasft

    with pytest.raises(AttributeError, match="has no attribute 'FineTune'"):
        kerasft.FineTune  # noqa: B018
