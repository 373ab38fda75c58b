import time

import numpy as np
import pytest
import tensorflow as tf

from kerasft.pipeline.waiting import Waiting

SECONDS = 0.05


def slow(_):
    time.sleep(SECONDS)
    return np.float32(1)


def made(fetched_ahead):
    dataset = tf.data.Dataset.range(4).map(lambda x: tf.numpy_function(slow, [x], tf.float32))
    return dataset.prefetch(4) if fetched_ahead else dataset


def test_batches_that_are_made_on_demand_are_waited_for():
    waiting = Waiting()
    assert [float(value) for value in waiting.timed(made(False))] == [1.0] * 4
    assert 4 * SECONDS < waiting.seconds < 8 * SECONDS


def test_batches_that_were_made_ahead_are_not():
    waiting = Waiting()
    batches = iter(waiting.timed(made(True)))
    for _ in range(4):
        time.sleep(3 * SECONDS)
        next(batches)
    assert waiting.seconds < 1.5 * SECONDS  # That for the first.


@pytest.mark.parametrize("structure", [{"a": 1, "b": (2, 3)}, ({"a": 1}, 2, 3), (1, 2)], ids=str)
def test_structure_shapes_and_number_stay(structure):
    values = tf.nest.map_structure(lambda value: tf.fill([6, 2], value), structure)
    dataset = tf.data.Dataset.from_tensor_slices(values).batch(4)
    timed = Waiting().timed(dataset)
    assert timed.element_spec == dataset.element_spec
    assert timed.cardinality() == 2
    for one, other in zip(timed, dataset, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
