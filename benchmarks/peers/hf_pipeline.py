"""Times a pipeline of Hugging Face transformers, on PyTorch, on sentences in batches.

python -m benchmarks.peers.hf_pipeline --model minilm --train train.tsv --rows 10000
"""

from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from benchmarks.measure import report, sentence_arguments, sentences, timed


def main():
    parser = sentence_arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder in the Hugging Face format")
    arguments = parser.parse_args()
    texts = sentences(arguments.train, arguments.rows)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, model_max_length=128)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=2, dtype="float32")
    classify = pipeline("text-classification", model, tokenizer=tokenizer, device="cpu")
    stopwatch = timed(lambda: classify(texts, batch_size=arguments.batch_size, truncation=True), len(texts))
    report("hf_pipeline", arguments, stopwatch, {}, ("torch", "transformers"))


if __name__ == "__main__":
    main()
