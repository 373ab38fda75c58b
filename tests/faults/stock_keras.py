"""What stock Keras does where kerasft promises something: the left column of the table in docs/resume.md.

python -m tests.faults.stock_keras

Toy models, the callbacks and file formats that Keras recommends, one line for each finding. That of kerasft is shown by
the other scripts in this folder and by tests.
"""

import json
import os
import random
import tempfile

from tests import conftest  # noqa: F401  (one thread, before TensorFlow is imported)
from tests.faults.flips import flip

FLIPS = 100


def data():
    import numpy as np

    dice = np.random.default_rng(0)
    return dice.normal(size=(64, 8)).astype("float32"), dice.integers(0, 2, 64)


def made(lora=False):
    """Returns a model with dropout, the same each time."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    if lora:
        model.layers[0].enable_lora(4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    return model


def fit(model, folder=None, crash_at=None, save_freq="epoch"):
    """Fits three epochs; returns the rows seen. With a folder, Keras's own BackupAndRestore is at work."""
    import keras

    class Crash(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            Crash.steps += 1
            if Crash.steps == crash_at:
                raise KeyboardInterrupt

    callbacks = [keras.callbacks.BackupAndRestore(folder, save_freq=save_freq)] if folder else []
    try:
        model.fit(*data(), batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[*callbacks, Crash()])
    except KeyboardInterrupt:
        pass
    return Crash.steps


def difference(one, two):
    """Returns the greatest difference between the weights of two models."""
    import numpy as np

    pairs = zip(one.get_weights(), two.get_weights(), strict=True)
    return max(float(np.abs(left - right).max()) for left, right in pairs)


def resumed(lora=False, crash_at=12, save_freq="epoch"):
    """Returns a straight run, one that was interrupted and went on, and how many steps both parts took."""
    whole, broken, again = made(lora), made(lora), made(lora)
    fit(whole)
    with tempfile.TemporaryDirectory() as folder:
        steps = fit(broken, folder, crash_at, save_freq) + fit(again, folder, save_freq=save_freq)
    return whole, again, steps


def flipped_bits():
    """Returns how many of 100 flipped bits of a `.weights.h5` raised an error, and how many loaded other weights."""
    dice, raised, silent = random.Random(0), 0, 0
    model, other = made(), made()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        for _ in range(FLIPS):
            bit = dice.randrange(8 * os.path.getsize(path))
            flip(path, bit)
            try:
                other.load_weights(path)
                silent += difference(model, other) > 0
            except Exception:  # Whatever it is, it was noticed.
                raised += 1
            flip(path, bit)
    return raised, silent


def poisoned_checkpoint():
    """Returns whether ModelCheckpoint keeps weights with a NaN that the loss does not see, despite TerminateOnNaN."""
    import keras
    import numpy as np

    model = made()
    first = model.layers[0]
    bias = first.bias.numpy()
    bias[0] = np.nan  # A unit that relu makes 0 of, whatever it is.
    kernel = model.layers[2].kernel.numpy()
    kernel[0] = 0.0
    first.bias.assign(bias)
    model.layers[2].kernel.assign(kernel)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "best.weights.h5")
        guards = [keras.callbacks.TerminateOnNaN(), keras.callbacks.ModelCheckpoint(path, save_weights_only=True)]
        history = model.fit(*data(), batch_size=8, epochs=1, verbose=0, callbacks=guards)
        saved = made()
        if os.path.exists(path):
            saved.load_weights(path)
    is_kept = any(not np.isfinite(weight).all() for weight in saved.get_weights())
    return {"loss": history.history["loss"][0], "kept": is_kept}


def main():
    import numpy as np

    whole, again, _ = resumed()
    print(f"resume after an epoch, dropout on: weights differ by {difference(whole, again):.3f}")
    _, _, steps = resumed(crash_at=12, save_freq=2)
    print(f"resume within an epoch: {steps} steps, where 24 and the one or two since the last saving are needed")
    whole, again, _ = resumed(lora=True)
    norms = [float(np.linalg.norm(model.layers[0].lora_kernel_b.numpy())) for model in (whole, again)]
    print(f"resume with LoRA: norm of B {norms[1]:.3f}, of a straight run {norms[0]:.3f}")
    raised, silent = flipped_bits()
    print(f"{FLIPS} flipped bits of a .weights.h5: {raised} raised an error, {silent} loaded other weights in silence")
    print(f"a NaN weight under ModelCheckpoint and TerminateOnNaN: {json.dumps(poisoned_checkpoint())}")


if __name__ == "__main__":
    main()
