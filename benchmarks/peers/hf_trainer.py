"""Fine-tunes a BERT classifier with the Trainer of Hugging Face transformers, on PyTorch.

python -m benchmarks.peers.hf_trainer --model minilm --train train.tsv --test test.tsv --group_by_length
python -m benchmarks.peers.hf_trainer --model minilm --train train.tsv --test test.tsv --method lora

With --method adapter in an environment of its own: AdapterHub's library needs the last transformers before 5.
"""

import re
import tempfile

import numpy as np
import peft
import transformers
from datasets import Dataset
from scipy import stats
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.measure import Stopwatch, grown_table, read_table, report, text_arguments


class Clock(TrainerCallback):
    """Passes the Trainer's events on to a `Stopwatch`."""

    def __init__(self, stopwatch):
        self.stopwatch = stopwatch

    def on_train_begin(self, *args, **kwargs):
        self.stopwatch.begin()

    def on_step_end(self, *args, **kwargs):
        self.stopwatch.step()

    def on_train_end(self, *args, **kwargs):
        self.stopwatch.end()


# Names of the weights that do not learn; those of `freeze` lie below the fifth of six blocks.
FROZEN = {
    "bit_fit": r"bert\..*(?<!bias)$",
    "linear_probe": r"bert\.",
    "freeze": r"bert\.(embeddings|encoder\.layer\.[0-3])\.",
}


def tokenized(tokenizer, texts, labels):
    """Returns a `datasets.Dataset` of token ids of their own length, and labels."""
    columns = zip(*texts, strict=True) if isinstance(texts[0], tuple) else (texts,)
    return Dataset.from_dict({**tokenizer(*map(list, columns), truncation=True), "labels": labels})


def training_arguments(arguments, folder):
    """Returns the suite's settings in the Trainer's words; weight decay skips biases and norms by default."""
    strategy = "group_by_length" if arguments.group_by_length else "random"
    words = {"train_sampling_strategy": strategy, "warmup_steps": 0.1}  # Below 1 it is a share of all steps.
    if transformers.__version__.startswith("4."):
        words = {"group_by_length": arguments.group_by_length, "warmup_ratio": 0.1}
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        per_device_eval_batch_size=32,  # As kerasft.
        learning_rate=arguments.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=arguments.bf16,
        seed=arguments.seed,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **words,
    )


def peer_arguments(description):
    """Returns a parser with the arguments that all jobs of the Trainer share."""
    parser = text_arguments(description)
    parser.add_argument("--model", required=True, help="folder in the Hugging Face format")
    parser.add_argument("--group_by_length", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    return parser


def trained(model, collator, train, arguments):
    """Returns the Trainer after its training, and the `Stopwatch` of that."""
    stopwatch = Stopwatch(len(train), arguments.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=training_arguments(arguments, folder),
            train_dataset=train,
            data_collator=collator,
            callbacks=[Clock(stopwatch)],
        )
        trainer.train()
    return trainer, stopwatch


def adapted(model, method):
    """Returns the model with PEFT's own way of a method, or AdapterHub's, or with what else does not learn frozen."""
    if method in FROZEN:
        for name, weight in model.named_parameters():
            weight.requires_grad = not re.match(FROZEN[method], name)
        return model
    if method == "adapter":
        import adapters  # Not beside the transformers of all other methods.

        adapters.init(model)
        width_32 = {"reduction_factor": model.config.hidden_size / 32, "non_linearity": "gelu"}  # kerasft's default.
        model.add_adapter("reviews", adapters.DoubleSeqBnConfig(**width_32))  # Houlsby's places.
        model.train_adapter("reviews")
        return model
    # The sizes are kerasft's defaults; which layers are adapted is PEFT's own choice for BERT.
    configs = {
        "lora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16),
        "ia3": lambda: peft.IA3Config(task_type="SEQ_CLS"),
        "prompt_tuning": lambda: peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=20),
        "prefix_tuning": lambda: peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=20),
    }
    return peft.get_peft_model(model, configs[method]()) if method != "full" else model


def score(predicted):
    """Returns what the Trainer predicted as a dict of one score."""
    if predicted.predictions.shape[1] == 1:
        return {"spearman": float(stats.spearmanr(predicted.predictions[:, 0], predicted.label_ids).statistic)}
    return {"accuracy": float(np.mean(predicted.predictions.argmax(-1) == predicted.label_ids))}


def main():
    parser = peer_arguments(__doc__.splitlines()[0])
    parser.add_argument("--growth", action="store_true", help="as many --rows as are asked for, see --joined")
    parser.add_argument("--method", default="full", help=f"full, {', '.join(FROZEN)}, adapter, or one of PEFT")
    arguments = parser.parse_args()

    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, model_max_length=128)
    table = read_table(arguments.train, arguments.rows)
    if arguments.growth:
        table = grown_table(arguments.train, arguments.rows, arguments.joined)
    train, test = tokenized(tokenizer, *table), tokenized(tokenizer, *read_table(arguments.test))
    outputs = 1 if isinstance(train["labels"][0], float) else 2  # With one, the loss is the mean squared error.
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=outputs, dtype="float32")
    trainer, stopwatch = trained(adapted(model, arguments.method), DataCollatorWithPadding(tokenizer), train, arguments)
    predicted = trainer.predict(test)
    packages = ("torch", "transformers", "accelerate", "adapters" if arguments.method == "adapter" else "peft")
    report("hf_trainer", arguments, stopwatch, score(predicted), packages)


if __name__ == "__main__":
    main()
