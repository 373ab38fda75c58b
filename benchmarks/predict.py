"""Times the first call of `predict`, with all that a first call makes, on sentences.

python -m benchmarks.predict --train train.tsv --rows 10000
"""

import tempfile

import kerasft
from benchmarks.measure import report, sentence_arguments, sentences, timed
from benchmarks.ours import PACKAGES


def main():
    arguments = sentence_arguments(__doc__.splitlines()[0]).parse_args()
    texts = sentences(arguments.train, arguments.rows)
    tuner = kerasft.FineTuner("text_classification", "starter:minilm_l6_en", precision="float32", seed=arguments.seed)
    with tempfile.TemporaryDirectory() as directory:
        few = [{"text": text, "label": number % 2} for number, text in enumerate(texts[:64])]
        tuner.fit(few, epochs=1, directory=f"{directory}/run")
        tuner = kerasft.load(f"{directory}/run")
        stopwatch = timed(lambda: tuner.predict(texts), len(texts))
    report("kerasft_predict", arguments, stopwatch, {}, PACKAGES)


if __name__ == "__main__":
    main()
