"""The suites' jobs through kerasft.

python -m benchmarks.ours sst2 --train train.tsv --test test.tsv --precision float32
python -m benchmarks.ours fashion --data fashion-mnist --method linear_probe
"""

import sys
import tempfile

import yaml

import kerasft
from benchmarks.keras_clock import Clock
from benchmarks.measure import Stopwatch, image_arguments, read_table, report, text_arguments
from kerasft import cache

PACKAGES = ("tensorflow", "keras", "keras-hub")


def sst2(arguments):
    """Returns the tuner and its training and test data for film-review sentences."""
    tuner = kerasft.FineTuner(
        task="text_classification",
        backbone=arguments.backbone or "starter:minilm_l6_en",
        method=yaml.safe_load(arguments.method),
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
        seed=arguments.seed,
        pooling="first",  # As BertForSequenceClassification.
    )
    return tuner, _examples(arguments.train, arguments.rows), _examples(arguments.test)


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


def _examples(path, rows=None):
    return [{"text": text, "label": label} for text, label in zip(*read_table(path, rows), strict=True)]


def main():
    suite, rest = sys.argv[1], sys.argv[2:]
    parser = (text_arguments if suite == "sst2" else image_arguments)(__doc__.splitlines()[0])
    if suite == "sst2":
        parser.add_argument("--method", default="full", help="its name, or as YAML with its arguments")
    parser.add_argument("--backbone", help="default: the suite's starter preset")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args(rest)

    tuner, train, test = (sst2 if suite == "sst2" else fashion)(arguments)
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
        accuracy = float(tuner.evaluate(test)["accuracy"].value)
    report(f"kerasft_{suite}", arguments, stopwatch, accuracy, PACKAGES)


if __name__ == "__main__":
    main()
