"""Fine-tunes EfficientNet-Lite0 on Fashion-MNIST in plain Keras, as its guide on transfer learning does.

python -m benchmarks.peers.keras_fashion --data fashion-mnist --method linear_probe
"""

import gzip
import math
import os

import keras
import numpy as np
import tensorflow as tf

from benchmarks.keras_clock import Clock
from benchmarks.measure import Stopwatch, image_arguments, report
from benchmarks.peers.keras_adamw import adamw
from kerasft.presets import base as presets


def read_idx(folder, split, rows):
    """Returns the first images `(rows, 28, 28, 3)`, the grey value three times, and their labels."""

    def read(kind, header):
        with gzip.open(os.path.join(folder, f"{split}-{kind}-ubyte.gz")) as file:
            return np.frombuffer(file.read(), "uint8", offset=header)

    images = read("images-idx3", 16).reshape(-1, 28, 28, 1)[:rows]
    return np.repeat(images, 3, axis=-1), read("labels-idx1", 8)[:rows].astype("int32")


def dataset(data, converter, batch_size, seed=None):
    """Returns batches of images as the backbone reads them, shuffled if there is a seed."""
    batches = tf.data.Dataset.from_tensor_slices(data)
    if seed is not None:
        batches = batches.shuffle(len(data[1]), seed=seed)
    batches = batches.batch(batch_size).map(lambda x, y: (converter(x), y), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def model_on(backbone, method, image_size):
    """Returns the backbone with pooling, dropout and a new last layer; a frozen one runs in inference mode."""
    backbone.trainable = method == "full"
    inputs = keras.Input((image_size, image_size, 3))
    features = backbone(inputs, training=False) if method == "linear_probe" else backbone(inputs)
    x = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, keras.layers.Dense(10, dtype="float32")(keras.layers.Dropout(0.1)(x)))


def main():
    parser = image_arguments(__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if arguments.bf16 else "float32")
    # Only the weights come from kerasft: Keras and KerasHub have none that can be had without their hub.
    pretrained = presets.resolve("starter:efficientnet_lite0_imagenet")
    size = (arguments.image_size, arguments.image_size)
    converter = type(pretrained.converter).from_config(
        {**pretrained.converter.get_config(), "image_size": size, "dtype": "float32"}
    )
    train = read_idx(arguments.data, "train", arguments.rows)
    test = read_idx(arguments.data, "t10k", arguments.test_rows)
    model = model_on(pretrained.backbone, arguments.method, arguments.image_size)
    learning_rate = arguments.learning_rate or {"full": 5e-4, "linear_probe": 5e-3}[arguments.method]
    model.compile(
        optimizer=adamw(learning_rate, arguments.epochs * math.ceil(len(train[1]) / arguments.batch_size)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    stopwatch = Stopwatch(len(train[1]), arguments.batch_size)
    batches = dataset(train, converter, arguments.batch_size, arguments.seed)
    model.fit(batches, epochs=arguments.epochs, callbacks=[Clock(stopwatch)], verbose=0)
    scores = model.predict(dataset(test, converter, 128), verbose=0)
    accuracy = float(np.mean(scores.argmax(-1) == test[1]))
    report("keras_fashion", arguments, stopwatch, {"accuracy": accuracy}, ("tensorflow", "keras", "keras-hub"))


if __name__ == "__main__":
    main()
