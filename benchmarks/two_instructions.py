"""A small chat model before and after it is taught to judge sentences (SST-2) and to translate others (Multi30k).

python -m benchmarks.two_instructions --data path/to/data

Writes results/two_instructions.json and two_instructions.md.
"""

import argparse
import gzip
import itertools
import json
from pathlib import Path

import numpy as np

import kerasft
from benchmarks.measure import ANSWERS, INSTRUCTION, read_table
from benchmarks.similarity import trained

TRANSLATE = "Translate this sentence into German."
SEEDS, TRAIN_ROWS, TEST_ROWS = 3, 400, 200  # Rows of each kind.
RESULTS = Path(__file__).parent / "results"
MEASURES = {
    ("judge", "exact"): "sentences: share of answers that are the likeliest, token by token",
    ("judge", "cross_entropy"): "sentences: cross-entropy of the answers' tokens",
    ("translate", "cross_entropy"): "translations: cross-entropy of their tokens",
}


def main():
    """Trains with each seed, and writes the scores on rows that were held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sst2/ and multi30k/")
    folder = parser.parse_args().data
    train, test = rows(folder, "train", "train", TRAIN_ROWS), rows(folder, "test", "test_2016_flickr", TEST_ROWS)
    found = []
    for seed in range(SEEDS):
        tuner = kerasft.FineTuner(
            "causal_lm",
            "starter:smollm2_135m_instruct",
            {"name": "lora", "rank": 8},
            learning_rate=5e-4,
            max_new_tokens=64,
            seed=seed,
        )
        before = scores(tuner, test)
        trained(tuner, list(itertools.chain(*train.values())), epochs=1, batch_size=8)
        found.append({"seed": seed, "before": before, "after": scores(tuner, test)})
        print(found[-1], flush=True)
    (RESULTS / "two_instructions.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "two_instructions.md").write_text(summary(found))


def rows(folder, sentences, pairs, count):
    """Returns the first conversations of each kind, by its name."""
    judged = zip(*read_table(folder / "sst2" / f"{sentences}.tsv", count), strict=True)
    english, german = (lines(folder / "multi30k" / f"{pairs}.{language}.gz", count) for language in ("en", "de"))
    return {
        "judge": [conversation(INSTRUCTION, text, ANSWERS[label]) for text, label in judged],
        "translate": [conversation(TRANSLATE, *pair) for pair in zip(english, german, strict=True)],
    }


def lines(path, count):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in itertools.islice(file, count)]


def conversation(instruction, question, answer):
    contents = {"system": instruction, "user": question, "assistant": answer}
    return {"messages": [{"role": role, "content": content} for role, content in contents.items()]}


def scores(tuner, test):
    """Returns the measures of each kind, as `{kind: {name: value}}`."""
    found = {kind: tuner.evaluate(data) for kind, data in test.items()}
    return {kind: {n: float(found[kind][n].value) for k, n in MEASURES if k == kind} for kind in test}


def summary(found):
    """Returns the table of means, with lowest and highest."""
    what = (
        f"SmolLM2-135M, LoRA of rank 8, {TRAIN_ROWS} conversations of each kind, 1 epoch; {TEST_ROWS} of each held out"
    )
    made = ["# two_instructions", "", f"{what}; {SEEDS} seeds.", ""]
    made += ["| measure | before | after, mean (lowest to highest) |", "|---|---|---|"]
    for (kind, name), title in MEASURES.items():
        before, after = ([row[when][kind][name] for row in found] for when in ("before", "after"))
        made.append(f"| {title} | {before[0]:.3f} | {np.mean(after):.3f} ({min(after):.3f} to {max(after):.3f}) |")
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    main()
