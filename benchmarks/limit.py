"""What bounds a training step of MiniLM on sentences: the multiplications that it needs, and how fast they are done.

python -m benchmarks.limit --train train.tsv --method full --precision float32

Prints the speed of one matrix multiplication of the model's size, the multiplications of a step, the examples per
second if there were nothing else, those measured, and where the time of a step goes, operation by operation.
"""

import argparse
import collections
import tempfile
import time
from pathlib import Path

import keras
import tensorflow as tf
import yaml

import kerasft
from benchmarks.measure import read_table
from kerasft import surgery
from kerasft.pipeline import batching
from kerasft.training import fit

ROWS, BATCH, WARM, TRACED = 1920, 32, 20, 10
LAYERS, WIDTH = 6, 384  # MiniLM's; its feed-forward layers are four times as wide.
AROUND = ("Process", "Run")  # What the profile counts beside single operations.
PASSES = {"full": 3, "lora": 2}  # Forward, to the inputs, and to the weights.


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True, help="file of text TAB label")
    parser.add_argument("--method", choices=list(PASSES), default="full")
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    arguments = parser.parse_args()
    method = {"name": "lora", "layers": "query|value"} if arguments.method == "lora" else "full"
    tuner = kerasft.FineTuner(
        "text_classification",
        "starter:minilm_l6_en",
        method=method,
        precision=arguments.precision,
        labels=[0, 1],
        pooling="pooled",
    )
    texts, labels = read_table(arguments.train, ROWS)
    data = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    examples = tuner.task.examples(tuner.frames(data)[0], tuner.preprocessor)
    rate = gigaflops("bfloat16" if arguments.precision == "mixed_bfloat16" else "float32")
    needed = PASSES[arguments.method] * forward_gigaflop(examples)
    seconds, profile = steps(tuner, examples)
    print(f"one multiplication            {rate:8.0f} GFLOP/s, {arguments.precision}")
    print(f"a step needs                  {needed:8.1f} GFLOP, {arguments.method}")
    print(f"with nothing else             {BATCH / (needed / rate):8.0f} examples/s")
    print(f"measured                      {BATCH / seconds:8.0f} examples/s")
    print("\nmilliseconds a step, of all threads, by operation")
    print(yaml.safe_dump(profile, sort_keys=False), end="")


def gigaflops(dtype, rows=26 * BATCH, repeats=10):
    """Returns the billions of additions and multiplications a second of a feed-forward layer's multiplication."""
    inputs = [tf.cast(tf.random.normal((rows, WIDTH)), dtype) for _ in range(repeats)]
    kernel = tf.cast(tf.random.normal((WIDTH, 4 * WIDTH)), dtype)

    @tf.function
    def multiply():
        made = []
        for each in inputs:
            with tf.control_dependencies(made[-1:]):  # One after the other, as in a model.
                made.append(tf.matmul(each, kernel))
        return [product[0, 0] for product in made]

    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - began)
    return 2 * rows * 4 * WIDTH**2 * repeats / min(seconds) / 1e9


def forward_gigaflop(examples):
    """Returns the billions of operations of a forward pass over an average batch, padding included.

    Of the last block, keys and values of all tokens count, and else the first token alone, as kerasft computes it.
    """
    widths = batching.choose_widths(examples)
    batches = batching.training_batches(examples, BATCH, 0, 0)
    shapes = [(len(batch), batching.width(examples.lengths[batch], widths)) for batch in batches]
    block = 12 * WIDTH**2 * 2  # Attention's four kernels and two of four times the width, for one token.
    attention = sum(4 * rows * width**2 * WIDTH * (LAYERS - 1) for rows, width in shapes) / len(shapes)
    positions = sum(rows * width for rows, width in shapes) / len(shapes)
    return (positions * block * (LAYERS - 1 + 2 / 12) + attention) / 1e9


def steps(tuner, examples):
    """Returns the seconds of a step and, of some steps, milliseconds by operation."""
    model = tuner.model
    settings = fit.Settings(None, None, 1e-4, epochs=1, batch_size=BATCH, seed=0, directory="")
    surgery.set_dtype_policy(model, tuner.policy)
    fit.compile_model(model, tuner.task, settings, total_steps=ROWS // BATCH)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(folder)
        model.fit(fit.training_dataset(examples, settings, range(1)), callbacks=[clock], shuffle=False, verbose=0)
        return clock.seconds, by_operation(folder)


class Clock(keras.callbacks.Callback):
    """Times the steps after the warm-up, and profiles the last ones, which it does not time."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.last = ROWS // BATCH - TRACED

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == WARM:
            self.began = time.perf_counter()
        if batch + 1 == self.last:
            self.seconds = (time.perf_counter() - self.began) / (self.last - WARM)
            tf.profiler.experimental.start(self.folder)

    def on_train_end(self, logs=None):
        tf.profiler.experimental.stop()


def by_operation(folder, count=20):
    """Returns milliseconds a step of the operations that took most, by name."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = Path(folder).rglob("*.xplane.pb")
    totals = collections.Counter()
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        for line in plane.lines if "CPU" in plane.name else ():
            for event in line.events:
                _, is_operation, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if is_operation and kind not in AROUND and not kind.startswith(" "):
                    totals[kind] += event.duration_ps / 1e9 / TRACED
    return {kind: round(total, 1) for kind, total in totals.most_common(count)}


if __name__ == "__main__":
    main()
