"""How to serve an export with TensorFlow Serving, in words to copy."""

import json
import os
import shlex

from kerasft.exporters.base import model_name, requests

PORT = 8501


def instructions(path, tuner):
    """Returns the commands that start a server for the version folder `path` and ask it.

    Args:
        path: str. As given to `tuner.export`, such as `"saved_models/reviews/export/1"`.
        tuner: FineTuner. Of the rows that it keeps as samples the shortest is what the server is asked.

    Example: >>> print(instructions("saved_models/reviews/export/1", tuner))
    Source: https://www.tensorflow.org/tfx/serving/docker, https://www.tensorflow.org/tfx/serving/api_rest
    """
    name = model_name(path)
    mount = f"{_absolute(os.path.dirname(os.path.normpath(path)))}:{shlex.quote(f'/models/{name}')}"
    url = shlex.quote(f"http://localhost:{PORT}/v1/models/{name}:predict")
    start = f"docker run -p {PORT}:{PORT} -v {mount} -e MODEL_NAME={shlex.quote(name)} tensorflow/serving"
    return f"{start}\n{_ask(requests(tuner), url)}"


def _ask(arrays, url):
    if any(name.endswith("_bytes") for name in arrays):
        # Through a pipe: an argument may be 128 kB long, which photographs are not.
        file = """printf '{"instances": [{"b64": "'; base64 < image.jpg; printf '"}]}'"""
        return f"{{ {file}; }} | curl -d @- {url}"
    rows = zip(*(values.tolist() for values in arrays.values()), strict=True)
    instances = [dict(zip(arrays, row, strict=True)) if len(arrays) > 1 else row[0] for row in rows]
    shortest = min((json.dumps({"instances": [instance]}) for instance in instances), key=len)
    return f"curl -d {shlex.quote(shortest)} {url}"


def _absolute(folder):
    """Returns the folder as the shell will understand it: Docker takes absolute paths only."""
    if os.path.isabs(folder):
        return shlex.quote(folder)
    return '"$PWD"' if folder in ("", ".") else f'"$PWD"/{shlex.quote(folder)}'
