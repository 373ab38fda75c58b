"""How to serve an export with TensorFlow Serving, in words to copy."""

import json
import os
import shlex

from kerasft.exporters.base import model_name

PORT = 8501


def instructions(path, task):
    """Returns the commands that start a server for the version folder `path` and ask it.

    Args:
        path: str. As given to `tuner.export`, such as `"saved_models/reviews/export/1"`.
        task: Task. Its signature says what the server is sent.

    Example: >>> print(instructions("saved_models/reviews/export/1", tuner.task))
    Source: https://www.tensorflow.org/tfx/serving/docker, https://www.tensorflow.org/tfx/serving/api_rest
    """
    name = model_name(path)
    mount = f"{_absolute(os.path.dirname(os.path.normpath(path)))}:{shlex.quote(f'/models/{name}')}"
    url = shlex.quote(f"http://localhost:{PORT}/v1/models/{name}:predict")
    start = f"docker run -p {PORT}:{PORT} -v {mount} -e MODEL_NAME={shlex.quote(name)} tensorflow/serving"
    return f"{start}\n{_ask(task.signature(), url)}"


def _ask(signature, url):
    if any(name.endswith("_bytes") for name in signature):
        # Through a pipe: an argument may be 128 kB long, which photographs are not.
        file = """printf '{"instances": [{"b64": "'; base64 < image.jpg; printf '"}]}'"""
        return f"{{ {file}; }} | curl -d @- {url}"
    instance = {name: _example(name, spec) for name, spec in sorted(signature.items())}
    instance = instance if len(instance) > 1 else next(iter(instance.values()))
    return f"curl -d {shlex.quote(json.dumps({'instances': [instance]}))} {url}"


def _example(name, spec):
    """Returns what may be asked: a string that says what it is, or as many numbers as belong there."""
    return list(range(spec.shape[1])) if spec.dtype.is_integer else f"the {name.replace('_', ' ')} to classify"


def _absolute(folder):
    """Returns the folder as the shell will understand it: Docker takes absolute paths only."""
    if os.path.isabs(folder):
        return shlex.quote(folder)
    return '"$PWD"' if folder in ("", ".") else f'"$PWD"/{shlex.quote(folder)}'
