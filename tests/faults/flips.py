"""Flips single bits of checkpoints: is each one noticed, named, and the checkpoint before taken?

python -m tests.faults.flips --flips 10000

Two checkpoints of a tiny model with its optimizer, as a run leaves them. Each time one bit of the newer one is another,
of the weights' file or of the manifest, as a coin falls.
"""

import argparse
import os
import random
import sys
import tempfile
import warnings

from kerasft.training import store
from tests import conftest


def write_two(directory):
    """Returns a store with the checkpoints 1 and 2 of a tiny BERT in training."""
    import keras

    model = conftest._tiny_bert().backbone
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    arrays = {f"{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    made = store.Store(directory)
    for number in (1, 2):
        made.save(number, arrays, {"epoch": number})
    made.wait()
    return made


def flip(path, bit):
    """Turns a bit of a file over."""
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def is_noticed(made, path):
    """Returns whether reading takes the checkpoint before and warns of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        saved = made.newest()
    return saved.words["epoch"] == 1 and any(path in str(warning.message) for warning in caught)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as directory:
        made = write_two(directory)
        paths = [os.path.join(made.path(2), name) for name in (store.STATE, store.MANIFEST)]
        flips, missed = dict.fromkeys(paths, 0), 0
        for number in range(arguments.flips):
            path = dice.choice(paths)
            bit = dice.randrange(8 * os.path.getsize(path))
            flip(path, bit)
            flips[path] += 1
            missed += not is_noticed(made, path)
            flip(path, bit)
            if (number + 1) % 1000 == 0:
                print(f"{number + 1:,} of {arguments.flips:,} flips, {missed} missed", flush=True)
        sizes = {
            os.path.basename(path): f"{count:,} of {8 * os.path.getsize(path):,} bits" for path, count in flips.items()
        }
        is_restored = made.newest().words["epoch"] == 2
    print(f"{arguments.flips:,} flips {sizes}: {missed} missed; whole again at the end: {is_restored}")
    sys.exit(bool(missed) or not is_restored)


if __name__ == "__main__":
    main()
