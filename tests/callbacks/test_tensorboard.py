"""The event files are read back with TensorBoard's own reader."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from kerasft.callbacks import TensorBoard
from kerasft.callbacks.tensorboard import flat
from kerasft.optimizers import AdamW

ROWS, BATCH = 23, 5  # Five steps an epoch, the last with three rows.
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(ROWS, 4)).astype("float32"), RANDOM.normal(size=(ROWS, 1)).astype("float32")
BATCHES = [slice(start, start + BATCH) for start in range(0, ROWS, BATCH)]


class WithTerm(keras.Sequential):
    """A linear model with one more loss term: the number of the step."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            self.term.update_state(keras.ops.cast(self.optimizer.iterations, "float32"))
        return loss


def linear_model(optimizer, kind=keras.Sequential):
    keras.utils.set_random_seed(0)
    model = kind([keras.Input((4,)), keras.layers.Dense(1)])
    if kind is WithTerm:
        model.term = keras.metrics.Mean(name="term")
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    return model


def fit(model, callback, validation=True, **kwargs):
    data = (X, Y) if validation else None
    arguments = {"batch_size": BATCH, "epochs": 3, "shuffle": False, "validation_data": data, "verbose": 0, **kwargs}
    return model.fit(X, Y, callbacks=[callback], **arguments).history


def read(folder, run):
    """Returns `{tag: {step: value}}` of a run; scalars as float, others as list of bytes."""
    accumulator = EventAccumulator(os.path.join(folder, run), size_guidance={"tensors": 0})
    accumulator.Reload()
    found = {}
    for tag in accumulator.Tags()["tensors"]:
        events = accumulator.Tensors(tag)
        values = [tf.make_ndarray(event.tensor_proto) for event in events]
        values = [value.item() if value.dtype == "float32" and value.ndim == 0 else value.tolist() for value in values]
        found[tag] = dict(zip([event.step for event in events], values, strict=True))
    return found


def window_means(of_batches, ends):
    """Returns the mean over rows of the batches since the end before; ends are numbers of steps, epochs of five."""
    means, begin = {}, 0
    for end in ends:
        steps = [step % 5 for step in range(begin, end)]
        sizes = [len(X[BATCHES[step]]) for step in steps]
        means[end] = float(np.average([of_batches[step] for step in steps], weights=sizes))
        begin = end
    return means


def test_it_writes_exactly_these_tags(tmp_path):
    model = linear_model(AdamW(0.01))
    history = fit(model, TensorBoard(str(tmp_path), {"learning_rate": 0.01}))
    assert list(history) == ["loss", "mae", "val_loss", "val_mae"]
    train, validation = read(tmp_path, "train"), read(tmp_path, "validation")
    step = {"step/loss", "step/learning_rate", "step/gradient_norm", "step/examples_per_second"}
    assert set(train) == step | {"epoch/loss", "epoch/mae", "epoch/weight_norm"}
    assert set(validation) == {"epoch/loss", "epoch/mae", metadata.SESSION_START_INFO_TAG}
    assert sorted(os.listdir(tmp_path)) == ["train", "validation"]


def test_values_of_epochs_are_those_of_history(tmp_path):
    model = linear_model(AdamW(0.01))
    history = fit(model, TensorBoard(str(tmp_path)))
    train, validation = read(tmp_path, "train"), read(tmp_path, "validation")
    for name in ("loss", "mae"):
        assert train[f"epoch/{name}"] == pytest.approx(dict(enumerate(history[name], 1)))
        assert validation[f"epoch/{name}"] == pytest.approx(dict(enumerate(history[f"val_{name}"], 1)))
    norm = np.sqrt(sum((weight.numpy() ** 2).sum() for weight in model.trainable_weights))
    assert train["epoch/weight_norm"][3] == pytest.approx(norm, rel=1e-6)


def test_values_of_steps_are_means_since_the_point_before(tmp_path):
    model = linear_model(AdamW(0.0, weight_decay=0.0))
    kernel, bias = (weight.numpy() for weight in model.weights)
    fit(model, TensorBoard(str(tmp_path), every_steps=2))
    errors = X @ kernel + bias - Y
    losses = [float((errors[rows] ** 2).mean()) for rows in BATCHES]
    train = read(tmp_path, "train")
    points = [2, 4, 5, 6, 8, 10, 12, 14, 15]  # Every second step, and the last of each epoch.
    assert train["step/loss"] == pytest.approx(window_means(losses, points), rel=1e-4)
    gradients = [2 * np.append(X[rows].T @ errors[rows], errors[rows].sum()) / len(X[rows]) for rows in BATCHES]
    norms = {point: float(np.linalg.norm(gradients[(point - 1) % 5])) for point in points}
    assert train["step/gradient_norm"] == pytest.approx(norms, rel=1e-4)
    assert all(rate > 0 for rate in train["step/examples_per_second"].values())
    assert list(train["step/examples_per_second"]) == [point for point in points if point != 6]  # No time to measure.


def test_the_learning_rate_is_that_of_the_schedule(tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 15, 0.0)
    fit(linear_model(keras.optimizers.SGD(schedule)), TensorBoard(str(tmp_path), every_steps=5))
    train = read(tmp_path, "train")
    assert train["step/learning_rate"] == pytest.approx({5: 0.1 * 2 / 3, 10: 0.1 / 3, 15: 0.0}, abs=1e-7)
    assert "step/gradient_norm" not in train  # SGD keeps none.


def test_terms_of_the_loss_have_curves_of_their_own(tmp_path):
    fit(linear_model("sgd", WithTerm), TensorBoard(str(tmp_path), every_steps=5))
    train = read(tmp_path, "train")
    assert train["step/term"] == pytest.approx({5: 2.0, 10: 7.0, 15: 12.0})
    assert train["epoch/term"] == pytest.approx({1: 2.0, 2: 7.0, 3: 12.0})


def test_steps_go_on_after_an_interruption(tmp_path):
    fit(linear_model("sgd"), TensorBoard(str(tmp_path / "first"), every_steps=5), epochs=2)
    fit(linear_model("sgd"), TensorBoard(str(tmp_path / "second"), every_steps=5), epochs=4, initial_epoch=2)
    first, second = (read(tmp_path, f"{name}/train") for name in ("first", "second"))
    assert (list(first["step/loss"]), list(second["step/loss"])) == ([5, 10], [15, 20])
    assert (list(first["epoch/loss"]), list(second["epoch/loss"])) == ([1, 2], [3, 4])


def test_steps_are_counted_where_their_number_is_unknown(tmp_path):
    def batches():
        for rows in BATCHES:
            yield X[rows], Y[rows]

    signature = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    linear = linear_model("sgd")
    linear.fit(data, epochs=2, callbacks=[TensorBoard(str(tmp_path), every_steps=2)], verbose=0)
    assert set(read(tmp_path, "train")["step/loss"]) >= {2, 4, 6, 8, 10}


def test_other_steps_read_nothing(tmp_path, monkeypatch):
    reads = []
    original = TensorBoard._sums
    monkeypatch.setattr(TensorBoard, "_sums", lambda self: reads.append(self.step) or original(self))
    fit(linear_model("sgd"), TensorBoard(str(tmp_path), every_steps=100), epochs=2)
    assert reads == [1, 5, 6, 10]  # The first and the last of each epoch.


def test_a_scaled_loss_does_not_hide_the_optimizer(tmp_path):
    optimizer = keras.optimizers.LossScaleOptimizer(AdamW(0.01), initial_scale=8.0)
    fit(linear_model(optimizer), TensorBoard(str(tmp_path)), epochs=1)
    train = read(tmp_path, "train")
    assert train["step/learning_rate"][5] == pytest.approx(0.01)
    assert train["step/gradient_norm"][5] > 0


def test_it_works_under_a_strategy(tmp_path):
    one = linear_model(AdamW(0.01))
    fit(one, TensorBoard(str(tmp_path / "one"), every_steps=2))
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        mirrored = linear_model(AdamW(0.01))
    fit(mirrored, TensorBoard(str(tmp_path / "mirrored"), every_steps=2))
    expected, found = (read(tmp_path, f"{name}/train") for name in ("one", "mirrored"))
    for tag in set(expected) - {"step/examples_per_second"}:
        assert found[tag] == pytest.approx(expected[tag], rel=1e-4), tag


def test_a_snapshot_becomes_images_and_text(tmp_path):
    pixels = RANDOM.integers(0, 255, (6, 8, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    calls = []

    def snapshot():
        calls.append(1)
        return {"validation/confusion": buffer.getvalue(), "validation/predictions": f"| {len(calls)} |"}

    fit(linear_model("sgd"), TensorBoard(str(tmp_path), snapshot=snapshot))
    validation = read(tmp_path, "validation")
    assert validation["validation/predictions"] == {1: b"| 1 |", 2: b"| 2 |", 3: b"| 3 |"}
    width, height, png = validation["validation/confusion"][3]
    assert (width, height) == (b"8", b"6")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)


def test_without_validation_there_is_no_snapshot(tmp_path):
    def snapshot():
        raise AssertionError("must not be called")

    fit(linear_model("sgd"), TensorBoard(str(tmp_path), snapshot=snapshot), validation=False)
    assert "epoch/loss" in read(tmp_path, "train")


def test_hyperparameters_are_a_record_that_the_plugin_reads(tmp_path):
    hparams = {"method": {"name": "lora", "rank": 8}, "learning_rate": 0.01, "pair": False, "schedule": None}
    folder = tmp_path / "reviews" / "logs"
    fit(linear_model("sgd"), TensorBoard(str(folder), hparams), epochs=1)
    accumulator = EventAccumulator(str(folder / "validation"))
    accumulator.Reload()
    content = accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(content)
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in info.hparams.items()}
    assert found == {"method": "lora", "method.rank": 8.0, "learning_rate": 0.01, "pair": False}
    assert info.group_name == f"reviews in {tmp_path}"


def test_no_hyperparameters_no_record(tmp_path):
    fit(linear_model("sgd"), TensorBoard(str(tmp_path)), epochs=1)
    assert metadata.SESSION_START_INFO_TAG not in read(tmp_path, "validation")


def test_hyperparameters_are_flat():
    given = {
        "method": {"name": "lora", "rank": 8, "layers": ["query", "value"], "decay": {"name": "cosine", "cycles": 2}},
        "objectives": ["r_drop", {"name": "l2_sp", "alpha": 0.1}],
        "seed": 0,
        "schedule": None,
        "optimizer": {"object": "SGD"},
    }
    assert flat(given) == {
        "method": "lora",
        "method.rank": 8,
        "method.layers": "query, value",
        "method.decay": "cosine",
        "method.decay.cycles": 2,
        "objectives": "r_drop, l2_sp(alpha=0.1)",
        "seed": 0,
        "optimizer": "SGD",
    }
