import base64
import json
import shlex
import subprocess
import types

import numpy as np
import pytest

from kerasft.serving.tf_serving import instructions
from kerasft.tasks.image_classification import ImageClassification
from kerasft.tasks.relation_classification import RelationClassification
from kerasft.tasks.text_classification import TextClassification


def trained(task, *rows):
    """Returns what `instructions` reads of a tuner that keeps these rows."""
    return types.SimpleNamespace(task=task, samples=task.frame_of(list(rows)) if rows else None)


def sent(command, folder):
    """Returns the JSON that the second command would send; `curl` is replaced by what shows its data."""
    script = 'curl() { if [ "$2" = @- ]; then tr -d "\\r\\n"; else printf %s "$2"; fi; };' + command
    return json.loads(subprocess.run(["bash", "-c", script], capture_output=True, check=True, cwd=folder).stdout)


def test_text(tmp_path):
    start, ask = instructions(
        "saved_models/reviews/export/1", trained(TextClassification(), "a long, slow film", 'it\'s "good"')
    ).splitlines()
    assert start == (
        'docker run -p 8501:8501 -v "$PWD"/saved_models/reviews/export:/models/reviews -e MODEL_NAME=reviews '
        "tensorflow/serving"
    )
    assert ask.endswith(" http://localhost:8501/v1/models/reviews:predict")
    assert sent(ask, tmp_path) == {"instances": ['it\'s "good"']}


def test_pairs_are_named(tmp_path):
    _, ask = instructions("reviews/1", trained(TextClassification(pair=True), ("a", "b"))).splitlines()
    assert sent(ask, tmp_path) == {"instances": [{"text": "a", "text_pair": "b"}]}


def test_spans_are_within_their_text(tmp_path):
    row = ("Ada lives in Rome", {"start": 0, "end": 3}, {"start": 13, "end": 17})
    _, ask = instructions("relations/1", trained(RelationClassification(["home", "none"]), row)).splitlines()
    assert sent(ask, tmp_path) == {"instances": [{"text": "Ada lives in Rome", "subject": [0, 3], "object": [13, 17]}]}


def test_without_samples_it_is_an_unusual_row(tmp_path):
    task = TextClassification()
    _, ask = instructions("reviews/1", trained(task)).splitlines()
    (text,) = sent(ask, tmp_path)["instances"]
    assert text in task.edge_cases()["text"].tolist()


def test_images_go_through_a_pipe(tmp_path):
    content = bytes(range(256)) * 2000  # Longer in base64 than an argument may be.
    (tmp_path / "image.jpg").write_bytes(content)
    _, ask = instructions("photos/1", trained(ImageClassification(), np.zeros((2, 2, 3), "uint8"))).splitlines()
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
    start, _ = instructions(path, trained(TextClassification(), "a film")).splitlines()
    words = shlex.split(start.replace("$PWD", "/home/me"))
    assert words[words.index("-v") + 1] == mount
