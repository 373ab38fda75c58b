"""Strategies by name, and the refusal of what would train wrongly."""

import keras
import pytest
import tensorflow as tf

from kerasft.distribution import base
from kerasft.errors import UserError


class Replicas:
    """Stands for a strategy of two devices."""

    num_replicas_in_sync = 2


def test_one_device_is_no_strategy():
    assert base.resolve(None) is None
    assert base.resolve("none") is None


def test_automatic_choice_on_a_machine_with_one_processor():
    assert base.resolve("auto") is None


def test_unknown_name():
    with pytest.raises(UserError, match="Did you mean 'mirrored'"):
        base.resolve("miror")


def test_unknown_argument():
    with pytest.raises(UserError, match="has no argument 'gpus'"):
        base.resolve({"name": "mirrored", "gpus": 2})


def test_a_strategy_is_returned_as_it_is():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    assert base.resolve(strategy) is strategy


def test_multi_worker_is_refused():
    with pytest.raises(UserError, match="OneDeviceStrategy only"):
        base.resolve(tf.distribute.MultiWorkerMirroredStrategy())


def test_batch_must_divide():
    with pytest.raises(UserError, match="multiple of the 2 replicas. Received: batch_size=33"):
        base.check(Replicas(), 33, None)


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_before_the_sum_is_refused(clip):
    with pytest.raises(UserError, match=f"Received: {clip}"):
        base.check(Replicas(), 32, keras.optimizers.Adam(**{clip: 1.0}))


def test_accumulation_is_refused():
    with pytest.raises(UserError, match="gradient_accumulation_steps"):
        base.check(Replicas(), 32, keras.optimizers.Adam(gradient_accumulation_steps=2))


def test_one_device_allows_everything():
    base.check(None, 33, keras.optimizers.Adam(clipnorm=1.0, gradient_accumulation_steps=2))
