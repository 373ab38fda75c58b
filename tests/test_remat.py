"""Gradient checkpointing: the same numbers in less memory."""

import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import remat, surgery
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.objectives.sam import Sam
from kerasft.presets.base import Pretrained
from kerasft.taps import tap
from kerasft.tasks._head import PooledHead
from tests import families


def made(pretrained, objectives=(), policy="float32"):
    keras.utils.set_random_seed(0)
    model = FineTunedModel(pretrained.backbone, PooledHead(2, ("tokens", "mask"), dropout=0.1), objectives)
    model.set_seed(0)
    for objective in objectives:
        objective.attach(model)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    surgery.set_dtype_policy(model, policy)
    return model


def batch(pretrained, rows=4, width=6):
    random = np.random.default_rng(0)
    ids = random.integers(5, 25, (rows, width))
    every = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": np.arange(width) < [[4]] * rows}
    inputs = {name: every[name.removeprefix("encoder_").removeprefix("decoder_")] for name in pretrained.backbone.input}
    return tf.nest.map_structure(tf.constant, (inputs, random.integers(2, size=rows)))


def computed(model, data, on):
    """Returns the loss and gradients of two steps one after the other, from the same seeds."""
    model.set_seed(0)
    remat.set_checkpointing(model, on)
    step = tf.function(lambda: model._computed(data)._replace(updates=[]))
    steps = [step(), step()]
    return [float(made.loss) for made in steps], [tf.convert_to_tensor(g) for g in steps[1].gradients if g is not None]


def assert_same(model, data, tolerance=1e-6):
    losses, gradients = computed(model, data, on=False)
    again, gradients_again = computed(model, data, on=True)
    np.testing.assert_allclose(again, losses, atol=tolerance)
    assert losses[0] != losses[1]  # Dropout goes on.
    for one, other in zip(gradients_again, gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    assert any(np.abs(gradient).max() > 1e-3 for gradient in gradients)


@pytest.mark.parametrize("family", families.quick_ones(families.ALL, "bert", "llama", "deberta_v3", "t5"))
def test_loss_and_gradients_are_the_same(family):
    pretrained = families.make(family)
    assert_same(made(pretrained), batch(pretrained), tolerance=2e-5)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_what_dropout_drops_is_the_same(make_tiny, name):
    pretrained = make_tiny(name, dropout=0.3)
    assert_same(made(pretrained), batch(pretrained))


def test_with_an_objective_that_gives_the_model_other_weights(make_tiny):
    pretrained = make_tiny("bert", dropout=0.1)
    assert_same(made(pretrained, [Sam()]), batch(pretrained))


def test_in_parts(make_tiny):
    pretrained = make_tiny("bert", dropout=0.1)
    model = made(pretrained)
    model.rows_at_once = 3
    assert_same(model, batch(pretrained))


def test_in_half_precision(make_tiny):
    pretrained = make_tiny("bert", dropout=0.1)
    assert_same(made(pretrained, policy="mixed_bfloat16"), batch(pretrained), tolerance=1e-2)


def test_what_is_frozen_gets_no_gradient(make_tiny):
    pretrained = make_tiny("bert", dropout=0.1)
    model = made(pretrained)
    first, last = (pretrained.backbone.get_layer(f"transformer_layer_{number}") for number in range(2))
    model.choose(lambda m: setattr(last._feedforward_output_dense, "trainable", False))
    assert_same(model, batch(pretrained))
    assert first.is_checkpointed


def test_what_objectives_look_at_stays_visible(make_tiny):
    pretrained = make_tiny("bert", dropout=0.0)
    model = made(pretrained)
    remat.set_checkpointing(model, True)
    inner = tap(pretrained.backbone.get_layer("transformer_layer_0")._feedforward_output_dense)
    with tf.GradientTape() as tape, inner.reading() as found:
        model(batch(pretrained)[0], training=True)
        square = tf.reduce_sum(found[0] ** 2)
    gradient = tape.gradient(square, pretrained.backbone.get_layer("transformer_layer_0").trainable_variables[0].value)
    assert np.abs(gradient).max() > 0


STEP = """
import sys
from kerasft import memory, remat
from tests.test_remat import deep_step
step = deep_step(sys.argv[1] == "on")
before = memory.used()
with memory.Watch() as watch:
    step()
print(watch.most - before)
"""


def deep_step(on):
    """Returns the traced training step of a BERT of 12 layers on 16 rows of 256 tokens."""
    arguments = {"num_layers": 12, "num_heads": 2, "hidden_dim": 64, "intermediate_dim": 256}
    backbone = keras_hub.models.BertBackbone(100, max_sequence_length=256, dropout=0.1, **arguments)
    pretrained = Pretrained("deep", backbone, "text", None)
    model, data = made(pretrained), batch(pretrained, rows=16, width=256)
    remat.set_checkpointing(model, on)
    return tf.function(lambda: model.attempt(data)).get_concrete_function()


@pytest.mark.slow
def test_a_step_takes_less_memory():
    """Each in a process of its own: what a process held before would hide what a step takes."""
    taken = {}
    for on in ("on", "off"):
        done = subprocess.run([sys.executable, "-c", STEP, on], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        taken[on] = int(done.stdout)
    assert taken["on"] < taken["off"] / 2


def test_fit_and_load(make_tiny, reviews, tmp_path):
    def fitted(on):
        tuner = kerasft.FineTuner(
            "text_classification", make_tiny("bert"), method="lora", precision="float32", gradient_checkpointing=on
        )
        tuner.fit(reviews, epochs=2, batch_size=4, directory=tmp_path / str(on))
        return tuner

    plain, checkpointed = fitted(False), fitted(True)
    inputs = [row["text"] for row in reviews]
    np.testing.assert_allclose(checkpointed.predict(inputs)["scores"], plain.predict(inputs)["scores"], atol=1e-5)
    assert checkpointed.recipe["gradient_checkpointing"] is True
    again = kerasft.load(tmp_path / "True")
    np.testing.assert_array_equal(again.predict(inputs)["scores"], checkpointed.predict(inputs)["scores"])


def test_a_network_of_single_layers_has_no_blocks_to_keep(make_tiny):
    tuner = kerasft.FineTuner(
        "image_classification", make_tiny("efficientnet"), labels=["a", "b"], gradient_checkpointing=True
    )
    with pytest.raises(UserError, match="gradient_checkpointing needs a transformer.*Received"):
        tuner.model  # noqa: B018


def test_images_through_a_transformer(make_tiny):
    tuner = kerasft.FineTuner("image_classification", make_tiny("vit"), labels=["a", "b"], gradient_checkpointing=True)
    blocks = [layer for layer in tuner.model._flatten_layers() if getattr(layer.call, "func", None) is remat._call]
    assert len(blocks) == 2
