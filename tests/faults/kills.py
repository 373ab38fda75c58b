"""Kills trainings at random moments and starts them again: do they end in the same bits as one that was left alone?

python -m tests.faults.kills --kills 200

Each run is a process that trains a tiny model; SIGKILL meets it anywhere between its first line and its last, while it
reads, traces, trains, validates, saves or leaves. Compared are the SHA-256 of the weights, the history and the last
checkpoint, which holds optimizer, seeds and callbacks. The kills are shared out over the scenarios.
"""

import argparse
import contextlib
import glob
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time

from kerasft import files
from tests import conftest  # noqa: F401  (one thread, before TensorFlow is imported)

SCENARIOS = {
    "full": {"method": "full"},
    "lora, sgd": {"method": {"name": "lora", "dropout": 0.1}, "optimizer": {"name": "sgd", "momentum": 0.9}},
    "gradual unfreezing": {"method": "gradual_unfreeze"},
    "accumulation": {"method": "full", "optimizer": {"name": "adamw", "gradient_accumulation_steps": 2}},
    "frozen BatchNorm": {"task": "image_classification", "method": {"name": "freeze", "blocks": 1}},
}


def train(scenario, directory):
    """What one process does: all of it, or what those that were killed before it left."""
    with open(f"{directory}.log", "a", encoding="utf-8") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    import keras
    import numpy as np

    from kerasft import run_folder
    from kerasft.fine_tuner import FineTuner
    from kerasft.training import checkpoint

    checkpoint.SECONDS = 0  # At the end of each epoch, too, though it takes no time.

    run_folder.clear_checkpoint = lambda directory: None  # It is compared.
    keras.utils.set_random_seed(0)
    arguments = {"task": "text_classification", "learning_rate": 0.01, **SCENARIOS[scenario]}
    if arguments["task"] == "image_classification":
        images = np.random.default_rng(0).integers(0, 255, (22, 32, 32, 3), "uint8")
        data, backbone = (images, ["ab"[i % 2] for i in range(len(images))]), conftest._tiny_efficientnet()
    else:
        words = "good bad witty dull great slow".split()
        data = [{"text": f"a {words[i % 6]} film " * (i % 3 + 1), "label": "ab"[i % 2]} for i in range(22)]
        backbone = conftest._tiny_bert()
    tuner = FineTuner(backbone=backbone, **arguments)
    tuner.fit(data, validation_data=data, epochs=3, batch_size=4, directory=directory, save_freq=2)


def fingerprint(directory):
    """Returns the SHA-256 of what a finished run leaves, by name."""
    newest = max(glob.glob(os.path.join(directory, "checkpoint", "step-*")))
    paths = {name: os.path.join(directory, name) for name in ("weights.safetensors", "history.json")}
    paths["last checkpoint"] = os.path.join(newest, "state.safetensors")
    return {name: files.sha256(path) for name, path in paths.items()}


def left_alone(context, scenario, folder):
    """Returns the fingerprint of a run that nothing disturbs, and its seconds."""
    directory = os.path.join(folder, f"{scenario}, left alone")
    for _ in range(2):  # The first process waits for the imports.
        shutil.rmtree(directory, ignore_errors=True)
        began = time.monotonic()
        process = context.Process(target=train, args=(scenario, directory))
        process.start()
        process.join()
        seconds = time.monotonic() - began
        if process.exitcode:
            sys.exit(f"A process ended with {process.exitcode}; see {directory}.log")
    return fingerprint(directory), seconds


def killed(context, scenario, directory, seconds, dice):
    """Trains and kills it at a random moment, until one process ends by itself. Returns how many were killed.

    Each is given a little longer than the one before, so that one reaches the end.
    """
    kills = 0
    while True:
        process = context.Process(target=train, args=(scenario, directory))
        process.start()
        process.join(dice.uniform(0, seconds) * (1 + kills / 3))
        if not process.is_alive():
            if process.exitcode:
                sys.exit(f"A process ended with {process.exitcode}; see {directory}.log")
            return kills
        process.kill()
        process.join()
        kills += 1
        if os.path.exists(os.path.join(directory, "manifest.json")):
            return kills  # The run was whole, and the process about to leave.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preload"])
    dice, folder = random.Random(arguments.seed), tempfile.mkdtemp()
    expected, seconds, table = {}, {}, {}
    for scenario in SCENARIOS:
        expected[scenario], seconds[scenario] = left_alone(context, scenario, folder)
        table[scenario] = {"runs": 0, "kills": 0, "differ": 0}
    while (total := sum(row["kills"] for row in table.values())) < arguments.kills:
        scenario = min(table, key=lambda name: table[name]["kills"])
        directory = os.path.join(folder, "run")
        row = table[scenario]
        row["kills"] += killed(context, scenario, directory, seconds[scenario], dice)
        row["runs"] += 1
        differing = [name for name, digest in fingerprint(directory).items() if digest != expected[scenario][name]]
        row["differ"] += bool(differing)
        print(f"{total}/{arguments.kills} kills  {scenario}: {', '.join(differing) or 'the same'}", flush=True)
        shutil.rmtree(directory)
    print(json.dumps(table, indent=1))
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
    sys.exit(any(row["differ"] for row in table.values()))


if __name__ == "__main__":
    main()
