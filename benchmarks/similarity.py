"""How alike two sentences are: by a bi-encoder's vectors before and after training, and by a cross-encoder (STS-B).

python -m benchmarks.similarity --data path/to/data

Writes results/similarity.json and similarity.md.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import kerasft
from benchmarks.ours import examples

BACKBONE = "starter:minilm_l6_en"
SEEDS, EPOCHS = 3, 3
RESULTS = Path(__file__).parent / "results"


def main():
    """Trains both with each seed, and writes Spearman's correlations on the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with stsb/train.csv and stsb/test.csv")
    folder = parser.parse_args().data / "stsb"
    train, test = (examples(folder / name, None, "value") for name in ("train.csv", "test.csv"))
    found = []
    for seed in range(SEEDS):
        vectors = kerasft.FineTuner("text_embedding", BACKBONE, low=0.0, high=5.0, seed=seed)
        before = spearman(vectors, test)
        after = spearman(trained(vectors, train), test)
        cross = kerasft.FineTuner("text_regression", BACKBONE, pair=True, pooling="pooled", seed=seed)
        found.append({"seed": seed, "before": before, "after": after, "cross": spearman(trained(cross, train), test)})
        print(found[-1], flush=True)
    (RESULTS / "similarity.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "similarity.md").write_text(summary(found))


def trained(tuner, data, epochs=EPOCHS, **kwargs):
    """Returns the tuner after its training, with what else `fit` shall be given."""
    with tempfile.TemporaryDirectory() as folder:
        tuner.fit(data, epochs=epochs, directory=f"{folder}/run", **kwargs)
    tuner.directory = None  # The folder is gone: nothing to write reports to.
    return tuner


def spearman(tuner, data):
    return float(tuner.evaluate(data)["spearman"].value)


def summary(found):
    """Returns the table of means, with lowest and highest."""
    names = {
        "before": "bi-encoder, before training",
        "after": "bi-encoder, after training",
        "cross": "cross-encoder, after training",
    }
    lines = ["# similarity", "", f"Spearman's correlation on STS-B's test split, {SEEDS} seeds, {EPOCHS} epochs.", ""]
    lines += ["| model | mean (lowest to highest) |", "|---|---|"]
    for key, name in names.items():
        values = [row[key] for row in found]
        lines.append(f"| {name} | {np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f}) |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
