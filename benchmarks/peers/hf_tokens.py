"""Fine-tunes a BERT tagger with the Trainer of Hugging Face transformers, as its example script run_ner.py does.

python -m benchmarks.peers.hf_tokens --model minilm --train dev.iob2 --test test.iob2 --group_by_length
"""

from datasets import Dataset
from seqeval.metrics import f1_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    set_seed,
)

from benchmarks.measure import read_words, report
from benchmarks.peers.hf_trainer import peer_arguments, trained

IGNORED = -100  # The label of positions that no word begins at, which the loss leaves out.


def aligned(tokenizer, path, labels, rows=None):
    """Returns a `datasets.Dataset` of token ids, and of each word's label at its first token."""
    words, tags = read_words(path, rows)
    encoded = tokenizer(words, is_split_into_words=True, truncation=True)
    numbers = {label: number for number, label in enumerate(labels)}
    columns = []
    for row, row_tags in enumerate(tags):
        places = encoded.word_ids(row)
        firsts = [place is not None and place != before for place, before in zip(places, [None, *places], strict=False)]
        columns.append([numbers[row_tags[p]] if f else IGNORED for p, f in zip(places, firsts, strict=True)])
    return Dataset.from_dict({**encoded, "labels": columns})


def score(predicted, labels):
    """Returns seqeval's F1 of what the Trainer predicted."""
    pairs = zip(predicted.label_ids, predicted.predictions.argmax(-1), strict=True)
    rows = [[(labels[t], labels[p]) for t, p in zip(*pair, strict=True) if t != IGNORED] for pair in pairs]
    truth, answers = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    return {"f1": float(f1_score(truth, answers))}


def main():
    parser = peer_arguments(__doc__.splitlines()[0])
    arguments = parser.parse_args()

    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, model_max_length=512)
    labels = sorted({tag for row in read_words(arguments.train)[1] for tag in row})
    train = aligned(tokenizer, arguments.train, labels, arguments.rows)
    test = aligned(tokenizer, arguments.test, labels)
    model = AutoModelForTokenClassification.from_pretrained(arguments.model, num_labels=len(labels), dtype="float32")
    trainer, stopwatch = trained(model, DataCollatorForTokenClassification(tokenizer), train, arguments)
    predicted = trainer.predict(test)
    report("hf_tokens", arguments, stopwatch, score(predicted, labels), ("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
