"""What checkpoints cost: of the time of a training with one every 100 steps, and for 100 MB to be verified.

python -m tests.faults.overhead --data sst2/train.tsv

Trains MiniLM on lines of text TAB label. The training waits while weights and moments are written, and at its end until
the last are on the disk; flushing takes a processor for a while, of which all cores together are that much the slower.
Both together are the cost.
"""

import argparse
import functools
import os
import tempfile
import time

from kerasft import run_folder
from kerasft.fine_tuner import FineTuner
from kerasft.training import checkpoint, store


class Clock:
    """The seconds that calls of functions took, and those of the processor in their thread."""

    def __init__(self):
        self.seconds, self.processor, self.calls = 0.0, 0.0, 0

    def timed(self, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            began = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began[0]
                self.processor += time.thread_time() - began[1]
                self.calls += 1

        return call


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="file of lines: text TAB label")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--save_freq", type=int, default=100)
    arguments = parser.parse_args()

    waiting, writing, training = Clock(), Clock(), Clock()
    checkpoint.Checkpoint.save = waiting.timed(checkpoint.Checkpoint.save)
    store.Store.close = waiting.timed(store.Store.close)
    store.Store._finish = writing.timed(store.Store._finish)
    run_folder.clear_checkpoint = lambda directory: None  # It is verified.
    tuner = FineTuner("text_classification", "starter:minilm_l6_en", seed=0)
    data = {"name": "csv", "path": arguments.data, "names": ["text", "label"], "quote": None}
    with tempfile.TemporaryDirectory() as directory:
        run = os.path.join(directory, "run")
        fit = {"epochs": arguments.epochs, "save_freq": arguments.save_freq, "directory": run}
        training.timed(tuner.fit)(data, **fit)
        saved = store.of_run(run)
        newest = saved.path(saved.numbers()[-1])
        size = os.path.getsize(os.path.join(newest, store.STATE))
        verifying = Clock()
        verifying.timed(saved.newest)()
    cost = waiting.seconds + writing.processor / os.cpu_count()
    print(
        f"{training.seconds:.0f} s of training, {writing.calls} checkpoints of {size / 1e6:.0f} MB\n"
        f"waited for   {waiting.seconds:.2f} s\n"
        f"flushed in   {writing.seconds:.2f} s, {writing.processor:.2f} s of them of one processor\n"
        f"cost         {cost / training.seconds:.2%} of the training\n"
        f"verified in  {verifying.seconds:.2f} s, {verifying.seconds * 1e8 / size:.2f} s for 100 MB"
    )


if __name__ == "__main__":
    main()
