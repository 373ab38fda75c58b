"""Beginnings that rows share: the same loss and gradients, for fewer tokens."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasft import lean, remat, shared
from kerasft.methods.prefix_tuning import PrefixTuning
from kerasft.model import FineTunedModel
from kerasft.presets.base import Pretrained
from kerasft.taps import tap
from kerasft.tasks.text_classification import TextClassification

SIZES = {
    "vocabulary_size": 40,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
DECODERS = {
    "llama": lambda: keras_hub.models.LlamaBackbone(**SIZES),
    "mistral": lambda: keras_hub.models.MistralBackbone(**SIZES, sliding_window=4),
    "qwen": lambda: keras_hub.models.QwenBackbone(**SIZES),
}
BEGINNINGS = (0, 1, 5, 9)


def rows_that_begin_alike(number, seed=0):
    """Returns the inputs of 3 rows of 9 tokens whose first `number` are the same."""
    tokens = np.random.default_rng(seed).integers(5, 40, (3, 9))
    tokens[:, :number] = tokens[0, :number]
    if number < 9:
        tokens[:, number] = 1, 2, 3
    mask = np.ones((3, 9), int)
    mask[1, max(number, 6) :] = 0
    return {"token_ids": tokens, "padding_mask": mask}


def classifier():
    pretrained = Pretrained(name="tiny_llama", backbone=DECODERS["llama"](), modality="text", converter=None)
    task = TextClassification(labels=["a", "b"], pooling="mean", dropout=0.0)
    return FineTunedModel(pretrained.backbone, task.head(pretrained))


def widths(model):
    """Returns a list to which the shape of what the first block's feed-forward part is given is added."""
    dense, found = model.get_layer("transformer_layer_0")._feedforward_gate_dense, []
    call = dense.call

    def seen(x, **arguments):
        found.append(tuple(x.shape))
        return call(x, **arguments)

    dense.call = seen
    return found


def computed(model, inputs, training=True):
    with tf.GradientTape() as tape:
        outputs = tf.sin(model(inputs, training=training))
        if len(outputs.shape) == 3:
            outputs *= tf.cast(inputs["padding_mask"], "float32")[..., None]
        loss = tf.reduce_sum(outputs)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return [outputs, *(tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("number", BEGINNINGS)
@pytest.mark.parametrize("name", DECODERS)
def test_outputs_and_gradients_are_the_same(name, number):
    backbone, inputs = DECODERS[name](), rows_that_begin_alike(number)
    before = computed(backbone, inputs)
    lean.apply(backbone)
    shared.share_beginnings(backbone)
    seen = widths(backbone)
    assert_alike(computed(backbone, inputs), before)
    assert_alike(tf.function(computed)(backbone, inputs), before)
    assert seen == [(1, number + 3 * (9 - number), 16), (1, None, 16)]


def test_gradient_checkpointing_keeps_what_is_shared():
    model, inputs = classifier(), rows_that_begin_alike(5)
    before = computed(model, inputs)
    shared.share_beginnings(model)
    remat.set_checkpointing(model, on=True)
    assert_alike(tf.function(computed)(model, inputs), before)


def assert_alike(after, before):
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=5e-5)


def test_rows_stay_apart_outside_of_training():
    backbone, inputs = DECODERS["llama"](), rows_that_begin_alike(5)
    shared.share_beginnings(backbone)
    seen = widths(backbone)
    computed(backbone, inputs, training=False)
    assert seen == [(3, 9, 16)]


def test_rows_share_their_beginning_in_an_evaluation():
    backbone, inputs = DECODERS["llama"](), rows_that_begin_alike(5)
    before = computed(backbone, inputs, training=False)
    shared.share_beginnings(backbone)
    seen = widths(backbone)

    @tf.function
    def evaluated():
        with shared.evaluating():
            return computed(backbone, inputs, training=False)

    assert_alike(evaluated(), before)
    assert seen == [(1, None, 16)]


def test_rows_stay_apart_where_an_objective_looks_into_the_model():
    backbone, inputs = DECODERS["llama"](), rows_that_begin_alike(5)
    shared.share_beginnings(backbone)
    tap(backbone.token_embedding)
    seen = widths(backbone)
    computed(backbone, inputs)
    assert seen == [(3, 9, 16)]


def test_rows_stay_apart_where_something_is_put_in_front_of_each():
    model, inputs = classifier(), rows_that_begin_alike(5)
    shared.share_beginnings(model)
    seen = widths(model)
    PrefixTuning(length=2).attach(model)
    computed(model, inputs)
    assert seen == [(3, 9, 16)]
