"""The suites' jobs through kerasft.

python -m benchmarks.ours sst2 --train train.tsv --test test.tsv --precision float32
python -m benchmarks.ours fashion --data fashion-mnist --method linear_probe
"""

import sys
import tempfile

import yaml

import kerasft
from benchmarks.keras_clock import Clock
from benchmarks.measure import (
    ANSWERS,
    INSTRUCTION,
    TEST_ROWS,
    Stopwatch,
    grown_table,
    image_arguments,
    read_questions,
    read_table,
    read_words,
    report,
    text_arguments,
)
from kerasft import cache

PACKAGES = ("tensorflow", "keras", "keras-hub")


def sst2(arguments):
    """Returns the tuner and its training and test data for film-review sentences."""
    tuner = _text_tuner("text_classification", arguments)
    return tuner, *(examples(path, rows, "label") for path, rows in _files(arguments))


def growth(arguments):
    """Returns the tuner and its training and test data for film-review sentences over and over, several to a text."""
    texts, labels = grown_table(arguments.train, arguments.rows, arguments.joined)
    train = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return _text_tuner("text_classification", arguments), train, examples(arguments.test, None, "label")


def stsb(arguments):
    """Returns the tuner and its training and test data for pairs of sentences, 0 to 5 alike."""
    tuner = _text_tuner("text_regression", arguments, pair=True)
    return tuner, *(examples(path, rows, "value") for path, rows in _files(arguments))


def uner(arguments):
    """Returns the tuner and its training and test data for names of persons, places and organisations."""
    tables = (read_words(path, rows) for path, rows in _files(arguments))
    data = [[{"tokens": w, "tags": t} for w, t in zip(*table, strict=True)] for table in tables]
    return _text_tuner("token_classification", arguments, pooling=None), *data


def xquad(arguments):
    """Returns the tuner and its training and test data for questions on paragraphs, both of one file."""
    tables = (read_questions(arguments.train, arguments.rows), read_questions(arguments.test, after=arguments.rows))
    data = [
        [{**row, "answers": [{"text": text, "start": start} for text, start in row["answers"]]} for row in table]
        for table in tables
    ]
    return _text_tuner("question_answering", arguments, pooling=None), *data


def instructions(arguments):
    """Returns the tuner and its training and test data for sentences with the question whether they praise."""
    model = {"backbone": "starter:smollm2_135m_instruct", "system": INSTRUCTION, "max_new_tokens": 4}
    tuner = _text_tuner("causal_lm", arguments, pooling=None, **model)
    return tuner, prompts(arguments.train, arguments.rows), prompts(arguments.test, TEST_ROWS)


def _text_tuner(task, arguments, pooling="pooled", backbone="starter:minilm_l6_en", **kwargs):
    kwargs |= {"pooling": pooling} if pooling else {}  # Through BERT's pooler, as BertForSequenceClassification.
    return kerasft.FineTuner(
        task=task,
        backbone=arguments.backbone or backbone,
        method=yaml.safe_load(arguments.method),
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
        seed=arguments.seed,
        **kwargs,
    )


def fashion(arguments):
    """Returns the tuner and its training and test data for photographs of clothes."""
    tuner = kerasft.FineTuner(
        task="image_classification",
        backbone=arguments.backbone or "starter:efficientnet_lite0_imagenet",
        method=arguments.method,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
        seed=arguments.seed,
        image_size=arguments.image_size,
    )
    source = {"name": "idx", "path": arguments.data}
    train = {**source, "split": "train", "limit": arguments.rows}
    return tuner, train, {**source, "split": "test", "limit": arguments.test_rows}


def _files(arguments):
    return (arguments.train, arguments.rows), (arguments.test, None)


def examples(path, rows, target):
    """Returns the first rows of a file, all for None, as dicts of `text`, of pairs `text_pair`, and the target."""
    texts, answers = read_table(path, rows)
    texts = [text if isinstance(text, tuple) else (text,) for text in texts]
    return [{**dict(zip(("text", "text_pair"), t)), target: a} for t, a in zip(texts, answers, strict=True)]  # noqa: B905


def prompts(path, rows):
    """Returns the first rows of a file, all for None, as dicts of a sentence and the word that is its label."""
    texts, labels = read_table(path, rows)
    return [{"prompt": text, "completion": ANSWERS[label]} for text, label in zip(texts, labels, strict=True)]


SUITES = {
    "sst2": (sst2, "accuracy"),
    "growth": (growth, "accuracy"),
    "stsb": (stsb, "spearman"),
    "uner": (uner, "f1"),
    "xquad": (xquad, "f1"),
    "instructions": (instructions, "cross_entropy"),
    "fashion": (fashion, "accuracy"),
}


def main():
    suite, rest = sys.argv[1], sys.argv[2:]
    make, metric = SUITES[suite]
    parser = (image_arguments if suite == "fashion" else text_arguments)(__doc__.splitlines()[0])
    if suite != "fashion":
        parser.add_argument("--method", default="full", help="its name, or as YAML with its arguments")
    parser.add_argument("--backbone", help="default: the suite's starter preset")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args(rest)

    tuner, train, test = make(arguments)
    rows = len(train) if isinstance(train, list) else arguments.rows
    stopwatch = Stopwatch(rows, arguments.batch_size)
    tuner.pretrained  # noqa: B018  (from the cache, of which what another run computed of frozen layers would be no work)
    with tempfile.TemporaryDirectory() as directory, cache.elsewhere(f"{directory}/cache"):
        tuner.fit(
            train,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            callbacks=[Clock(stopwatch)],
            directory=f"{directory}/run",
        )
        found = {name: float(estimate.value) for name, estimate in tuner.evaluate(test).items()}
    scores = {metric: found[metric]} | ({"accuracy": found["exact"]} if suite == "instructions" else {})
    report(f"kerasft_{suite}", arguments, stopwatch, scores, PACKAGES)


if __name__ == "__main__":
    main()
