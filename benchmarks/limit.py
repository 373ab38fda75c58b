"""What bounds a training step on sentences: the multiplications that it needs, and how fast they are done.

python -m benchmarks.limit --train train.tsv --model minilm --method full --precision float32

Of MiniLM that classifies, batches of 32, or of SmolLM2 that answers with a LoRA (`--model smollm2 --method lora`),
batches of 4. Prints the speed of one matrix multiplication of the model's size, the multiplications of a step, the
examples per second if there were nothing else, those measured, and where a step's time goes, operation by operation.
"""

import argparse
import collections
import math
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
import yaml

import kerasft
from benchmarks import ours
from benchmarks.measure import INSTRUCTION
from kerasft import quantization, surgery
from kerasft.pipeline import batching
from kerasft.training import fit

STEPS, WARM, TRACED = 60, 20, 10
AROUND = ("Process", "Run")  # What the profile counts beside single operations.
PASSES = {"full": 3, "lora": 2}  # Forward, to the inputs, and to the weights.
LORA = {"name": "lora", "layers": "query|value"}


class Model(NamedTuple):
    """What is trained, as kerasft computes it."""

    width: int
    inner: int
    batch: int
    positions: int  # That a batch has, about.
    saved: float  # Of the multiplications of the last block, where the head reads the first token alone.
    shares: bool  # Whether what all rows begin with is computed once.


MODELS = {"minilm": Model(384, 1536, 32, 832, 10 / 12, False), "smollm2": Model(576, 1536, 4, 140, 0, True)}


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True, help="file of text TAB label")
    parser.add_argument("--model", choices=list(MODELS), default="minilm")
    parser.add_argument("--method", choices=list(PASSES), default="full")
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32")
    arguments = parser.parse_args()
    model = MODELS[arguments.model]
    tuner, data = (minilm if arguments.model == "minilm" else smollm2)(arguments, STEPS * model.batch)
    examples = tuner.task.examples(tuner.frames(data)[0], tuner.preprocessor)
    rate = gigaflops("bfloat16" if arguments.precision == "mixed_bfloat16" else "float32", model)
    needed = PASSES[arguments.method] * forward_gigaflop(tuner.model, examples, model)
    seconds, profile = steps(tuner, examples, model.batch)
    print(f"one multiplication            {rate:8.0f} GFLOP/s, {arguments.precision}")
    print(f"a step needs                  {needed:8.1f} GFLOP, {arguments.method}")
    print(f"with nothing else             {model.batch / (needed / rate):8.1f} examples/s")
    print(f"measured                      {model.batch / seconds:8.1f} examples/s")
    print("\nmilliseconds a step, of all threads, by operation")
    print(yaml.safe_dump(profile, sort_keys=False), end="")


def minilm(arguments, rows):
    """Returns the tuner and the data of the suites `sst2_speed` and `sst2_lora`."""
    method = LORA if arguments.method == "lora" else "full"
    kwargs = {"method": method, "precision": arguments.precision, "labels": [0, 1], "pooling": "pooled"}
    data = ours.examples(arguments.train, rows, "label")
    return kerasft.FineTuner("text_classification", "starter:minilm_l6_en", **kwargs), data


def smollm2(arguments, rows):
    """Returns the tuner and the data of the suite `instructions`."""
    kwargs = {"method": LORA, "precision": arguments.precision, "system": INSTRUCTION, "max_new_tokens": 4}
    data = ours.prompts(arguments.train, rows)
    return kerasft.FineTuner("causal_lm", "starter:smollm2_135m_instruct", **kwargs), data


def gigaflops(dtype, model, repeats=10):
    """Returns the billions of additions and multiplications a second of a feed-forward layer's multiplication."""
    inputs = [tf.cast(tf.random.normal((model.positions, model.width)), dtype) for _ in range(repeats)]
    kernel = tf.cast(tf.random.normal((model.width, model.inner)), dtype)

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
    return 2 * model.positions * model.width * model.inner * repeats / min(seconds) / 1e9


def forward_gigaflop(network, examples, model):
    """Returns the billions of operations of a forward pass over an average batch, padding included."""
    layers = [layer for layer in quantization.layers(network) if "transformer_layer" in layer.path]
    blocks = sum("attention_output" in layer.path for layer in layers)
    kernels = sum(math.prod(layer.kernel.shape) for layer in layers)
    kernels *= 1 - model.saved / blocks
    widths, needed = batching.choose_widths(examples), []
    for batch in batching.training_batches(examples, model.batch, 0, 0):
        width = batching.width(examples.lengths[batch], widths)
        shared = beginning(examples, batch) if model.shares else 0
        positions = shared + len(batch) * (width - shared)
        attention = 4 * model.width * (shared**2 + len(batch) * (width - shared) * width)
        needed.append(2 * positions * kernels + attention * (blocks - math.ceil(model.saved)))
    return sum(needed) / len(needed) / 1e9


def beginning(examples, batch):
    """Returns how many tokens these rows begin with alike."""
    rows = [examples.token_ids[examples.offsets[row] :][: examples.lengths[row]] for row in batch]
    length = min(map(len, rows))
    same = np.all([row[:length] == rows[0][:length] for row in rows], axis=0)
    return int(np.cumprod(same).sum())


def steps(tuner, examples, batch):
    """Returns the seconds of a step and, of some steps, milliseconds by operation."""
    model = tuner.model
    settings = fit.Settings(None, None, 1e-4, epochs=1, batch_size=batch, seed=0, directory="")
    surgery.set_dtype_policy(model, tuner.policy)
    fit.compile_model(model, tuner.task, settings, total_steps=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(folder)
        model.fit(fit.training_dataset(examples, settings, range(1)), callbacks=[clock], shuffle=False, verbose=0)
        return clock.seconds, by_operation(folder)


class Clock(keras.callbacks.Callback):
    """Times the steps after the warm-up, and profiles the last ones, which it does not time."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.last = STEPS - TRACED

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
