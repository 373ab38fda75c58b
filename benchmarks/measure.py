"""What every job measures in the same way: the clock of the training loop, memory, the JSON line.

Only the standard library, so that it runs in every library's environment.
"""

import argparse
import collections
import csv
import importlib.metadata
import itertools
import json
import os
import platform
import re
import resource
import string
import sys
import threading
import time

INSTRUCTION = "Is this sentence of a film review positive or negative? Answer with one word."
ANSWERS = ("negative", "positive")
TEST_ROWS = 400  # That a decoder is scored on.
LOOK_SECONDS = 0.02  # Between two looks at the memory.
WARM_UP_STEPS = 20  # Left out of the steady speed: tracing, caches, memory that grows.


class Stopwatch:
    """Times a training loop; the caller says when it begins, when each step is done and when it ends.

    Args:
        rows: int. Training examples in an epoch.
        batch_size: int.
    """

    def __init__(self, rows, batch_size):
        self.rows, self.batch_size = rows, batch_size
        self.steps = 0
        self.first_step_seconds = self.peak_anonymous_mb = self.ended = None

    def begin(self):
        self.began = self.warm = time.perf_counter()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def step(self):
        self.steps += 1
        if self.steps == 1:
            self.first_step_seconds = seconds_alive()
        if self.steps == WARM_UP_STEPS:
            self.warm = time.perf_counter()

    def end(self):
        self.ended = time.perf_counter()

    def _watch_memory(self):
        while self.ended is None and (used := anonymous_mb()):
            self.peak_anonymous_mb = max(self.peak_anonymous_mb or 0, used)
            time.sleep(LOOK_SECONDS)

    def figures(self):
        """Returns seconds and examples per second, with the first steps and without them."""
        examples = _examples(self.steps, self.rows, self.batch_size)
        steady = examples - _examples(min(self.steps, WARM_UP_STEPS), self.rows, self.batch_size)
        return {
            "steps": self.steps,
            "first_step_seconds": self.first_step_seconds,
            "training_seconds": round(self.ended - self.began, 2),
            "examples_per_second": round(examples / (self.ended - self.began), 2),
            "steady_examples_per_second": round(steady / (self.ended - self.warm), 2) if steady else None,
        }


def seconds_alive():
    """Returns the age of this process, or None where the system does not say (not Linux)."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as stat, open("/proc/uptime", encoding="utf-8") as uptime:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
            return round(float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"), 2)
    except OSError:
        return None


def timed(call, rows):
    """Returns the `Stopwatch` of one call that is done with so many rows at once."""
    stopwatch = Stopwatch(rows, rows)
    stopwatch.begin()
    call()
    stopwatch.step()
    stopwatch.end()
    return stopwatch


def _examples(steps, rows, batch_size):
    """Returns how many examples these steps saw; the last batch of an epoch may be a smaller one."""
    epochs, rest = divmod(steps, -(-rows // batch_size))
    return epochs * rows + rest * batch_size


def text_arguments(description):
    """Returns a parser with the arguments that all text jobs share; the defaults are the suites' settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train", required=True, help="file of text TAB label")
    parser.add_argument("--test", required=True, help="file of text TAB label")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="train on the first so many examples only")
    parser.add_argument("--joined", type=int, default=1, help="train on texts of so many sentences each")
    return parser


def sentence_arguments(description):
    """Returns a parser with the arguments that all jobs share which only predict."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train", required=True, help="file of text TAB label")
    parser.add_argument("--rows", type=int, default=10000, help="so many sentences, the file's over again")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def image_arguments(description):
    """Returns a parser with the arguments that all image jobs share; the defaults are the suites' settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True, help="folder of the four IDX files of Fashion-MNIST")
    parser.add_argument("--method", choices=["full", "linear_probe"], default="full")
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, help="default: 5e-4, for linear_probe 5e-3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6000, help="train on the first so many images")
    parser.add_argument("--test_rows", type=int, default=10000)
    return parser


def read_table(path, rows=None):
    """Returns the texts and the integer labels of the first `rows` lines of a file of `text TAB label` lines.

    Of a CSV file of two texts and a number, the pairs of texts and the numbers.
    """
    if str(path).endswith(".csv"):
        with open(path, encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))[:rows]
        return [(first, second) for first, second, _ in table], [float(value) for _, _, value in table]
    with open(path, encoding="utf-8", newline="") as file:
        table = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:rows]
    return [text for text, _ in table], [int(label) for _, label in table]


def grown_table(path, rows, joined):
    """Returns so many texts and labels of a file, which begins again where it is too short.

    Each text is of so many sentences; its label is that of the first.
    """
    texts, labels = (list(itertools.islice(itertools.cycle(column), rows * joined)) for column in read_table(path))
    return [" ".join(texts[i : i + joined]) for i in range(0, len(texts), joined)], labels[::joined]


def read_words(path, rows=None):
    """Returns the words and the tags of the first `rows` sentences of a CoNLL file whose lines have numbers."""
    with open(path, encoding="utf-8") as file:
        blocks = file.read().strip().split("\n\n")[:rows]
    lines = [[line.split("\t") for line in block.split("\n") if not line.startswith("#")] for block in blocks]
    return [[columns[1] for columns in row] for row in lines], [[columns[2] for columns in row] for row in lines]


def read_questions(path, rows=None, after=None):
    """Returns the questions of a SQuAD file as dicts of `question`, `context` and `answers`, pairs of text and place.

    Whole paragraphs: those that end within the first `rows` questions, or those after them.
    """
    with open(path, encoding="utf-8") as file:
        paragraphs = [paragraph for article in json.load(file)["data"] for paragraph in article["paragraphs"]]
    ends = list(itertools.accumulate(len(paragraph["qas"]) for paragraph in paragraphs))
    chosen = [
        paragraph
        for paragraph, end in zip(paragraphs, ends, strict=True)
        if (after is None and (rows is None or end <= rows)) or (after is not None and end > after)
    ]
    return [
        {
            "question": question["question"],
            "context": paragraph["context"],
            "answers": [(answer["text"], answer["answer_start"]) for answer in question["answers"]],
        }
        for paragraph in chosen
        for question in paragraph["qas"]
    ]


def answer_scores(found, questions):
    """Returns the mean F1 of answers, as the official script of SQuAD 1.1 computes it."""
    scores = [max(_word_f1(text, gold) for gold, _ in q["answers"]) for text, q in zip(found, questions, strict=True)]
    return sum(scores) / len(scores)


def _word_f1(text, gold):
    first, second = (_normalized(answer).split() for answer in (text, gold))
    common = sum((collections.Counter(first) & collections.Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else float(first == second)


def _normalized(text):
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def sentences(path, rows):
    """Returns so many texts of a file of `text TAB label` lines, which begins again where it is too short."""
    return grown_table(path, rows, 1)[0]


def anonymous_mb():
    """Returns how much memory of this process is of no file, such as a library; None where it cannot be told."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            found = re.search(r"RssAnon:\s+(\d+)", file.read())
    except OSError:
        return None
    return found and round(int(found[1]) / 2**10)


def report(name, settings, stopwatch, scores, packages):
    """Prints the job's one line of JSON.

    Args:
        name: str. Such as `"hf_trainer"`.
        settings: argparse.Namespace.
        stopwatch: Stopwatch, ended.
        scores: dict of name to float, on the test file: `accuracy`, `spearman` or `f1`; empty where none was measured.
        packages: tuple of str. Distributions whose versions matter.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = {
        "job": name,
        **scores,
        **stopwatch.figures(),
        "peak_rss_mb": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
        "peak_anonymous_mb": stopwatch.peak_anonymous_mb,
        "settings": vars(settings),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "python": platform.python_version(),
    }
    print(json.dumps(line), flush=True)
