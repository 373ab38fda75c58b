import random

import keras
import keras_hub
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.presets import _building
from tests.faults import watch

BILLION = 10**9


def dense():
    pixels = keras.Input((1000,))
    return keras.Model(pixels, keras.layers.Dense(BILLION)(pixels))


def embedding():
    ids = keras.Input((8,), dtype="int32")
    return keras.Model(ids, keras.layers.Embedding(BILLION, 512)(ids))


def convolution():
    pixels = keras.Input((32, 32, 1000))
    layer = keras.layers.Conv2D(10**6, 100, padding="same", kernel_initializer="orthogonal")
    return keras.Model(pixels, keras.layers.BatchNormalization()(layer(pixels)))


def bert():
    return keras_hub.models.BertBackbone(BILLION, 2, 2, 1024, 4096, max_sequence_length=10**6)


def test_the_shapes_are_those_of_the_model(tiny_bert):
    config = keras.saving.serialize_keras_object(tiny_bert.backbone)
    found = _building.shapes_of(lambda: keras.saving.deserialize_keras_object(config))
    assert found == [tuple(weight.shape) for weight in tiny_bert.backbone.weights]


@pytest.mark.parametrize("build", [dense, embedding, convolution, bert])
def test_a_model_of_terabytes_takes_no_memory_and_is_refused(build):
    memory = watch.Memory()
    _building.shapes_of(lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    before = memory.restart()
    with pytest.raises(UserError, match=r"a model of [\d,]{14,} weights, and there are files of 6. Received"):
        _building.check_size(build, [(2, 3)], "model.keras")
    assert max(memory.peak, memory.now) - before < 64


def test_nothing_is_left_to_be_filled_later():
    _building.shapes_of(dense)
    with keras.StatelessScope():  # At its end Keras fills every variable that waits in this thread.
        pass


def test_the_model_that_is_built_next_gets_the_seeds_it_would_have_had():
    def build():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])

    random.seed(0)
    expected = build().get_weights()
    random.seed(0)
    _building.shapes_of(build)
    np.testing.assert_array_equal(build().get_weights()[0], expected[0])
