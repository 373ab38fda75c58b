"""`kerasft demo`: from data to an answer of the exported model, with what a package index carries and nothing else."""

import contextlib
import json
import os
import subprocess
import sys
import time

from kerasft.data import base as data_sources
from kerasft.fine_tuner import FineTuner
from kerasft.serving import tf_serving

TRAIN = {"name": "film_snippets", "split": "train"}
TEST = {"name": "film_snippets", "split": "test"}
EPOCHS = 1
SENTENCES = ("A gorgeous, witty film that stays with you.", "A dull, lifeless bore from start to finish.")

# Answers with the exported model alone: no kerasft, no Keras.
CLIENT = """
import json, sys
import tensorflow as tf
import tensorflow_text
model = tf.saved_model.load(sys.argv[1])
answer = model.signatures["serving_default"](text=tf.constant(sys.argv[2:]))
labels = [label.decode() for label in answer["label"].numpy()]
print(json.dumps(list(zip(labels, answer["score"].numpy().tolist()))))
"""


def main(directory):
    """Fetches, fine-tunes, evaluates, exports and asks, and says how long each took.

    Args:
        directory: str. Run folder; if there is something in it, the first free `<directory>-<number>`.
    """
    directory = _first_free(directory)
    export = os.path.join(directory, "export", "1")
    begin = time.monotonic()
    with _step("1/6  Data: sentences of film reviews, fetched once"):
        train, test = data_sources.load(TRAIN), data_sources.load(TEST)
        print(f"{len(train):,} to learn from, {len(test):,} to test on")
    with _step("2/6  Backbone: MiniLM, a small BERT, fetched once"):
        tuner = FineTuner(task="text_classification", backbone="starter:minilm_l6_en", name="demo")
        print(f"{tuner.pretrained.backbone.count_params():,} weights")
    with _step("3/6  Fine-tuning"):
        tuner.fit(TRAIN, validation_split=0.1, epochs=EPOCHS, directory=directory)
    with _step("4/6  Evaluation on sentences it has never seen"):
        print(f"accuracy {tuner.evaluate(TEST)['accuracy']} (95 % interval), more in {directory}/report.html")
    with _step("5/6  Export, checked against the model"):
        tuner.export(export)
        print(export)
    with _step("6/6  Two answers of the export, in a process without kerasft"):
        for sentence, (label, score) in zip(SENTENCES, ask(export, SENTENCES), strict=True):
            print(f"{label} {score:.2f}  {sentence}")
    print(f"\nAll of it took {_clock(time.monotonic() - begin)}. Now look at it, and serve it:\n")
    print(f"tensorboard --logdir {os.path.dirname(directory) or '.'}")
    print(tf_serving.instructions(export, tuner))


def ask(path, texts):
    """Returns `[label, score]` for each text, from a SavedModel in a process of its own.

    Raises: RuntimeError with what the process said if it fails.
    """
    run = subprocess.run([sys.executable, "-c", CLIENT, path, *texts], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{path} gives no answer: {run.stderr[-1000:]}")
    return json.loads(run.stdout)


@contextlib.contextmanager
def _step(title):
    print(f"\n{title}", flush=True)
    begin = time.monotonic()
    yield
    print(f"took {_clock(time.monotonic() - begin)}", flush=True)


def _clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _first_free(directory):
    candidate, number = directory, 1
    while os.path.isdir(candidate) and os.listdir(candidate):
        number += 1
        candidate = f"{directory}-{number}"
    return candidate
