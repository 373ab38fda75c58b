"""Fine-tunes a BERT classifier with KerasHub as its guides do: a task from a preset, compile, fit.

python -m benchmarks.peers.keras_hub_fit --model minilm --train train.tsv --test test.tsv --sequence_length 128
"""

import math

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from benchmarks.keras_clock import Clock
from benchmarks.measure import Stopwatch, read_table, report, text_arguments
from benchmarks.peers.keras_adamw import adamw


def classifier_from(arguments):
    """Returns the KerasHub task; its preprocessor pads every text to `sequence_length`."""
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
        arguments.model, sequence_length=arguments.sequence_length
    )
    return keras_hub.models.TextClassifier.from_preset(arguments.model, num_classes=2, preprocessor=preprocessor)


def main():
    parser = text_arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder in the Hugging Face format")
    parser.add_argument("--sequence_length", type=int, default=128)
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(arguments.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if arguments.bf16 else "float32")
    texts, labels = read_table(arguments.train, arguments.rows)
    batches = tf.data.Dataset.from_tensor_slices((texts, labels))
    batches = batches.shuffle(len(texts), seed=arguments.seed).batch(arguments.batch_size)
    classifier = classifier_from(arguments)
    classifier.compile(
        optimizer=adamw(arguments.learning_rate, arguments.epochs * math.ceil(len(texts) / arguments.batch_size)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    stopwatch = Stopwatch(len(texts), arguments.batch_size)
    classifier.fit(batches, epochs=arguments.epochs, callbacks=[Clock(stopwatch)], verbose=0)

    texts, labels = read_table(arguments.test)
    scores = classifier.predict(texts, batch_size=128, verbose=0)
    accuracy = float(np.mean(scores.argmax(-1) == np.array(labels)))
    report("keras_hub_fit", arguments, stopwatch, {"accuracy": accuracy}, ("tensorflow", "keras", "keras-hub"))


if __name__ == "__main__":
    main()
