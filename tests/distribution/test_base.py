import keras
import pytest
import tensorflow as tf

from kerasft.distribution import base
from kerasft.errors import UserError


class Strategy:
    """Stands for a strategy of two replicas."""

    num_replicas_in_sync = 2


@pytest.mark.parametrize("distribution", [None, "none"])
def test_one_device(distribution):
    assert base.resolve(distribution) is None


def test_auto_is_one_device_without_accelerators():
    assert base.resolve("auto") is None


@pytest.mark.parametrize(("tpus", "gpus", "expected"), [(8, 0, "tpu"), (0, 2, "mirrored"), (0, 1, None), (0, 0, None)])
def test_auto_takes_what_there_is(monkeypatch, tpus, gpus, expected):
    counts = {"TPU": tpus, "GPU": gpus}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * counts[kind])
    monkeypatch.setattr(base.registry, "find", lambda folder, name, verb: lambda: name)
    assert base.resolve("auto") == expected


def test_a_strategy_is_taken_as_it_is():
    for strategy in (tf.distribute.MirroredStrategy(["CPU:0"]), tf.distribute.OneDeviceStrategy("CPU:0")):
        assert base.resolve(strategy) is strategy


def test_strategies_that_keras_cannot_train_under_are_refused():
    class ParameterServer(tf.distribute.experimental.ParameterServerStrategy):
        def __init__(self):
            pass

    for strategy in (
        tf.distribute.MultiWorkerMirroredStrategy(),
        tf.distribute.experimental.CentralStorageStrategy(),
        ParameterServer(),
    ):
        with pytest.raises(UserError, match=f"Received: distribution={type(strategy).__name__}"):
            base.resolve(strategy)


@pytest.mark.parametrize(
    ("distribution", "part"),
    [
        ("miror", "Did you mean 'mirrored'?"),
        ({"devices": ["CPU:0"]}, "has no None"),
        ({"name": "mirrored", "device": 1}, "no argument 'device'. Did you mean 'devices'?"),
        (2, "must be a name, a dict or a Strategy"),
    ],
)
def test_others_are_refused(distribution, part):
    with pytest.raises(UserError) as error:
        base.resolve(distribution)
    assert part in str(error.value)
    assert "Received: " in str(error.value)


@pytest.mark.parametrize(
    ("batch_size", "optimizer", "part"),
    [
        (7, None, "a multiple of the 2 replicas. Received: batch_size=7"),
        (8, keras.optimizers.SGD(clipnorm=1.0), "Received: clipnorm=1.0"),
        (8, keras.optimizers.SGD(clipvalue=0.5), "Received: clipvalue=0.5"),
        (8, keras.optimizers.Adam(global_clipnorm=2.0), "Received: global_clipnorm=2.0"),
        (8, {"name": "sgd", "global_clipnorm": 2.0}, "Received: global_clipnorm=2.0"),
        (8, keras.optimizers.Adam(gradient_accumulation_steps=2), "Received: gradient_accumulation_steps=2"),
        (8, {"name": "adamw", "gradient_accumulation_steps": 4}, "Received: gradient_accumulation_steps=4"),
    ],
)
def test_what_would_train_wrongly_is_refused(batch_size, optimizer, part):
    with pytest.raises(UserError) as error:
        base.check(Strategy(), batch_size, optimizer)
    assert part in str(error.value)
    base.check(None, batch_size, optimizer)


def test_rows_that_are_compared_are_not_shared():
    with pytest.raises(UserError, match="one device only. Received: distribution=Strategy of 2 replicas"):
        base.check(Strategy(), 8, None, rows_apart=False)
    base.check(tf.distribute.OneDeviceStrategy("CPU:0"), 8, None, rows_apart=False)


@pytest.mark.parametrize("optimizer", [None, "sgd", {"name": "adamw", "clip_norm": 1.0}, keras.optimizers.SGD()])
def test_what_trains_rightly_is_not(optimizer):
    base.check(Strategy(), 8, optimizer)


def test_a_backbone_made_before_the_strategy_is_refused(make_tiny):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    before = make_tiny("bert").backbone
    with strategy.scope():
        within = make_tiny("bert").backbone
    base.check_scope(strategy, within)
    base.check_scope(None, before)
    with pytest.raises(UserError, match=f"must be made under the strategy.*Received: backbone='{before.name}'"):
        base.check_scope(strategy, before)
