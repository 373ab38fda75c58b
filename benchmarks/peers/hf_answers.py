"""Fine-tunes a BERT for answers in texts with the Trainer of Hugging Face transformers, as its example run_qa.py does.

python -m benchmarks.peers.hf_answers --model minilm --train xquad.en.json --test xquad.en.json --rows 900
"""

import collections

import numpy as np
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    set_seed,
)

from benchmarks.measure import answer_scores, read_questions, report
from benchmarks.peers.hf_trainer import peer_arguments, trained

LENGTH, STRIDE, BEST, LONGEST = 384, 128, 20, 30  # As run_qa.py's defaults.


def windows(tokenizer, questions, is_training):
    """Returns a `datasets.Dataset` of windows, with the answer's place in each, and what scoring needs of them."""
    encoded = tokenizer(
        [question["question"] for question in questions],
        [question["context"] for question in questions],
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    columns, beside = dict(encoded), []
    if is_training:
        columns |= {"start_positions": [], "end_positions": []}
    for number, owner in enumerate(owners):
        second = [segment == 1 for segment in encoded.sequence_ids(number)]
        beside.append((owner, [pair if inside else None for pair, inside in zip(offsets[number], second, strict=True)]))
        if is_training:
            places = _places(questions[owner], beside[-1][1])
            columns["start_positions"].append(places[0])
            columns["end_positions"].append(places[1])
    return Dataset.from_dict(columns), beside


def _places(question, offsets):
    """Returns the first and last token of the first answer, or 0 and 0 where the window has not all of it."""
    text, begin = question["answers"][0]
    end, inner = begin + len(text), [number for number, pair in enumerate(offsets) if pair]
    if offsets[inner[0]][0] > begin or offsets[inner[-1]][1] < end:
        return 0, 0
    first = max(number for number in inner if offsets[number][0] <= begin)
    last = min(number for number in inner if offsets[number][1] >= end)
    return first, last


def answered(questions, beside, starts, ends):
    """Returns the best answer to each question over all of its windows."""
    found = collections.defaultdict(list)
    for (owner, offsets), start, end in zip(beside, starts, ends, strict=True):
        for first in np.argsort(start)[-BEST:]:
            for last in np.argsort(end)[-BEST:]:
                inside = first < len(offsets) and last < len(offsets) and offsets[first] and offsets[last]
                if inside and first <= last < first + LONGEST:
                    found[owner].append((start[first] + end[last], offsets[first][0], offsets[last][1]))
    best = {owner: max(spans) for owner, spans in found.items()}
    return [q["context"][slice(*best[n][1:])] if n in best else "" for n, q in enumerate(questions)]


def main():
    parser = peer_arguments(__doc__.splitlines()[0])
    arguments = parser.parse_args()

    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, model_max_length=512)
    questions, test = (
        read_questions(arguments.train, arguments.rows),
        read_questions(arguments.test, after=arguments.rows),
    )
    train, _ = windows(tokenizer, questions, is_training=True)
    asked, beside = windows(tokenizer, test, is_training=False)
    model = AutoModelForQuestionAnswering.from_pretrained(arguments.model, dtype="float32")
    trainer, stopwatch = trained(model, DataCollatorWithPadding(tokenizer), train, arguments)
    trainer.args.train_sampling_strategy = "random"  # By length, answers would come in another order than questions.
    starts, ends = trainer.predict(asked).predictions
    score = answer_scores(answered(test, beside, starts, ends), test)
    report("hf_answers", arguments, stopwatch, {"f1": score}, ("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
