"""Two devices train as one does: losses, weights, metrics, whatever is left for the last batch."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json, sys, tempfile
import keras, numpy as np, tensorflow as tf
mode, rows, objectives, optimizer = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras_hub
from kerasft.fine_tuner import FineTuner
from kerasft.presets.base import Pretrained
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if mode == "two" else None
keras.utils.set_random_seed(0)
words = "good bad film plot very dull witty the a".split()
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
def build():
    if sys.argv[5] != "bert":
        from tests import families
        return families.make(sys.argv[5])
    backbone = keras_hub.models.BertBackbone(vocabulary_size=len(vocabulary), num_layers=1, num_heads=2,
        hidden_dim=8, intermediate_dim=16, max_sequence_length=32, dropout=0.0)
    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    return Pretrained("tiny", backbone, "text", tokenizer)
if strategy:
    with strategy.scope():
        pretrained = build()
else:
    pretrained = build()
random = np.random.default_rng(0)
data = [{"text": " ".join(random.choice(words, random.integers(1, 12))) + f" {i}", "label": "ab"[i % 2]}
        for i in range(rows)]
tuner = FineTuner("text_classification", pretrained, learning_rate=0.05, precision="float32", dropout=0.0,
                  distribution=strategy, objectives=objectives, optimizer=optimizer)
history = tuner.fit(data, validation_data=data[:5], epochs=2, batch_size=8, directory=tempfile.mkdtemp() + "/run")
logs = history.history
weights = [float(np.abs(v.numpy()).sum()) for v in tuner.model.trainable_weights]
scores = tuner.predict([row["text"] for row in data[:5]])["scores"].tolist()
accuracy = float(tuner.evaluate(data)["accuracy"].value)
print("RESULT" + json.dumps({"logs": logs, "weights": weights, "scores": scores, "accuracy": accuracy}))
"""


def run(mode, rows, objectives=(), optimizer=None, family="bert"):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, str(rows), json.dumps(objectives), json.dumps(optimizer), family],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=280,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, process.stderr[-2000:]
    return json.loads(lines[0].removeprefix("RESULT"))


@pytest.mark.parametrize(
    "rows", [17, pytest.param(21, marks=pytest.mark.slow), pytest.param(32, marks=pytest.mark.slow)]
)
def test_equals_one_device(rows):
    """17 rows leave one for the last batch of 8: one replica has nothing real to do; clipping is at work throughout."""
    one, two = run("one", rows), run("two", rows)
    assert set(one["logs"]) == set(two["logs"])
    for name, values in one["logs"].items():
        assert two["logs"][name] == pytest.approx(values, abs=1e-5), name
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-5, abs=1e-5)
    assert two["accuracy"] == one["accuracy"]
    for ours, theirs in zip(one["scores"], two["scores"], strict=True):
        assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.mark.slow
def test_a_decoder_equals_one_device():
    """Rows share their first tokens on one device as on two; only there each block has a graph of its own."""
    one, two = run("one", 17, family="llama"), run("two", 17, family="llama")
    for name, values in one["logs"].items():
        assert two["logs"][name] == pytest.approx(values, abs=1e-4), name
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_objectives_equal_those_of_one_device(tmp_path):
    """Without dropout these are no matter of chance; a teacher's logits come beside each row.

    With SGD: Adam divides each gradient by its size, so the noise in those that cancel (a key's bias) would be a step.
    """
    np.save(tmp_path / "logits.npy", np.random.default_rng(0).normal(size=(17, 2)))
    teacher = {"name": "distillation", "teacher": str(tmp_path / "logits.npy")}
    objectives = ["l2_sp", "class_balanced", "r_drop", teacher]
    one, two = run("one", 17, objectives, "sgd"), run("two", 17, objectives, "sgd")
    for name, values in one["logs"].items():
        assert two["logs"][name] == pytest.approx(values, abs=1e-4), name
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_objectives_of_chance_train_on_two_devices():
    """Each device draws for itself, so that only what it comes to can be looked at."""
    unlabelled = {"name": "pseudo_labels", "data": [{"text": "good film"}, {"text": "bad"}], "threshold": 0.1}
    made = run("two", 32, ["sam", "mixout", "neftune", "mixup", "manifold_mixup", unlabelled])
    assert np.isfinite(made["weights"]).all() and made["logs"]["sam"][0] > 0
    assert made["logs"]["loss"][-1] < made["logs"]["loss"][0]
