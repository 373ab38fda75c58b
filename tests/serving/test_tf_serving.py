import base64
import json
import shlex
import subprocess

import pytest

from kerasft.serving.tf_serving import instructions
from kerasft.tasks.image_classification import ImageClassification
from kerasft.tasks.text_classification import TextClassification


def sent(command, folder):
    """Returns the JSON that the second command would send; `curl` is replaced by what shows its data."""
    script = 'curl() { if [ "$2" = @- ]; then tr -d "\\r\\n"; else printf %s "$2"; fi; };' + command
    return json.loads(subprocess.run(["bash", "-c", script], capture_output=True, check=True, cwd=folder).stdout)


def test_text(tmp_path):
    start, ask = instructions("saved_models/reviews/export/1", TextClassification()).splitlines()
    assert start == (
        'docker run -p 8501:8501 -v "$PWD"/saved_models/reviews/export:/models/reviews -e MODEL_NAME=reviews '
        "tensorflow/serving"
    )
    assert ask.endswith(" http://localhost:8501/v1/models/reviews:predict")
    assert sent(ask, tmp_path) == {"instances": ["the text to classify"]}


def test_pairs_are_named(tmp_path):
    _, ask = instructions("reviews/1", TextClassification(pair=True)).splitlines()
    assert set(sent(ask, tmp_path)["instances"][0]) == {"text", "text_pair"}


def test_images_go_through_a_pipe(tmp_path):
    content = bytes(range(256)) * 2000  # Longer in base64 than an argument may be.
    (tmp_path / "image.jpg").write_bytes(content)
    _, ask = instructions("photos/1", ImageClassification()).splitlines()
    (instance,) = sent(ask, tmp_path)["instances"]
    assert list(instance) == ["b64"] and base64.b64decode(instance["b64"]) == content


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/srv/my models/reviews/1", "/srv/my models/reviews:/models/reviews"),
        ("reviews/1/", "/home/me/reviews:/models/reviews"),
    ],
)
def test_the_folder_is_absolute_and_quoted(path, mount):
    start, _ = instructions(path, TextClassification()).splitlines()
    words = shlex.split(start.replace("$PWD", "/home/me"))
    assert words[words.index("-v") + 1] == mount
