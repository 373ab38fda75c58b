"""Fine-tunes a decoder on prompts and completions with the Trainer of transformers and PEFT's LoRA.

python -m benchmarks.peers.hf_causal --model smollm2 --train train.tsv --test test.tsv --rows 800
"""

from pathlib import Path

import peft
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, set_seed

from benchmarks.measure import ANSWERS, INSTRUCTION, TEST_ROWS, read_table, report
from benchmarks.peers.hf_trainer import peer_arguments, trained

IGNORED = -100  # The label of tokens that are not learned.


def conversations(tokenizer, path, rows):
    """Returns a `datasets.Dataset` of instruction, sentence and answer, of which the answer is learned."""
    texts, labels = read_table(path, rows)
    ids, learned = [], []
    for text, label in zip(texts, labels, strict=True):
        turns = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer(f"{ANSWERS[label]}<|im_end|>", add_special_tokens=False)["input_ids"]
        ids.append([*before, *answer])
        learned.append([*[IGNORED] * len(before), *answer])
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": learned})


@torch.no_grad()
def scores(model, data, collator, batch_size=16):
    """Returns the mean cross-entropy of the answers' tokens, and the share of rows of which all are the likeliest."""
    model.eval()
    losses, counts, exact = 0.0, 0, 0
    for begin in range(0, len(data), batch_size):
        batch = collator([data[row] for row in range(begin, min(begin + batch_size, len(data)))])
        labels = batch.pop("labels")[:, 1:]
        logits = model(**batch).logits[:, :-1].float()
        counted = labels != IGNORED
        losses += float(torch.nn.functional.cross_entropy(logits[counted], labels[counted], reduction="sum"))
        counts += int(counted.sum())
        exact += int(((logits.argmax(-1) == labels) | ~counted).all(1).sum())
    return {"cross_entropy": losses / counts, "accuracy": exact / len(data)}


def main():
    parser = peer_arguments(__doc__.splitlines()[0])
    arguments = parser.parse_args()

    set_seed(arguments.seed)
    file = next(Path(arguments.model).glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, gguf_file=file, dtype="float32")
    model.is_quantized = False  # Its file is, its weights no longer are; the Trainer refuses those that are.
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    train = conversations(tokenizer, arguments.train, arguments.rows)
    test = conversations(tokenizer, arguments.test, TEST_ROWS)
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    trainer, stopwatch = trained(peft.get_peft_model(model, config), collator, train, arguments)
    found = scores(trainer.model, test, collator)
    report("hf_causal", arguments, stopwatch, found, ("torch", "transformers", "accelerate", "peft"))


if __name__ == "__main__":
    main()
