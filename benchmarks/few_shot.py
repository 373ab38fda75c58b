"""Few examples of SST-2, drawn ten times: each variant of a recipe, and the one that a search with folds chooses.

python -m benchmarks.few_shot --data path/to/data

Writes results/few_shot.json after each draw, so that the same command goes on where it was stopped, and few_shot.md.
"""

import argparse
import gc
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import kerasft
from benchmarks.measure import read_table
from kerasft import recipe as recipes
from kerasft.search.search import search

RECIPE = "tuner_configs/text_classification_few_shot.yaml"
NAMES = ("label descriptions, then full", "linear probe", "contrastive, then a probe", "full")  # Of its variants.
LABELS = ("negative", "positive")
SIZES, DRAWS, FOLDS = (8, 64), 10, 4
RESULTS = Path(__file__).parent / "results"


def main():
    """Runs what is not in the results yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sst2/train.tsv and sst2/test.tsv")
    folder = parser.parse_args().data / "sst2"
    train, test = table(folder / "train.tsv"), table(folder / "test.tsv")
    path = RESULTS / "few_shot.json"
    done = json.loads(path.read_text()) if path.exists() else []
    for size in SIZES:
        for draw in range(DRAWS):
            if any((row["size"], row["draw"]) == (size, draw) for row in done):
                continue
            done.append({"size": size, "draw": draw, **scored(drawn(train, size, draw), test)})
            path.write_text(json.dumps(done, indent=1) + "\n")
            print(done[-1], flush=True)
    (RESULTS / "few_shot.md").write_text(summary(done))


def table(path):
    """Returns a table of `text` and `label`, a word."""
    texts, labels = read_table(path)
    return pd.DataFrame({"text": texts, "label": [LABELS[label] for label in labels]})


def drawn(train, size, draw):
    """Returns so many random rows of each class."""
    return pd.concat([rows.sample(size, random_state=draw) for _, rows in train.groupby("label")], ignore_index=True)


def scored(data, test):
    """Returns the test accuracy of each variant, fitted to all the data, and of the variant that the search chose."""
    recipe = {**recipes.read(RECIPE), "data": data}
    variants = recipe["variant"]["choice"]
    with tempfile.TemporaryDirectory() as folder:
        accuracies = []
        for number, variant in enumerate(variants):
            arguments = {**recipes.fill(recipe, {"variant": variant}), "directory": f"{folder}/{number}"}
            given, for_fit = recipes.parted(arguments, kerasft.FineTuner.fit)
            tuner = kerasft.FineTuner(**given)
            tuner.fit(**for_fit)
            accuracies.append(tuner.evaluate(test)["accuracy"].value)
            keras.utils.clear_session()
            gc.collect()
        found = search(recipe, tuner="grid", folds=FOLDS, directory=f"{folder}/search")
    chosen = variants.index(json.loads(found.chosen["variant"]))
    return {"accuracies": accuracies, "chosen": chosen}


def summary(rows):
    """Returns the table of means and deviations in Markdown."""
    lines = ["# few_shot", "", "| way | " + " | ".join(f"{size} a class" for size in SIZES) + " |", "|---|---:|---:|"]
    columns = []
    for size in SIZES:
        scores = np.array([row["accuracies"] for row in rows if row["size"] == size])
        chosen = [row["chosen"] for row in rows if row["size"] == size]
        columns.append([*scores.T, scores[np.arange(len(scores)), chosen]])
    for name, *cells in zip((*NAMES, f"chosen with {FOLDS} folds"), *columns, strict=True):
        lines.append(
            f"| {name} | " + " | ".join(f"{cell.mean():.4f} ± {cell.std(ddof=1):.4f}" for cell in cells) + " |"
        )
    lines += ["", f"Accuracy on SST-2's test part, mean and standard deviation of {DRAWS} draws."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
