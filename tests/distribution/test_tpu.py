import pytest
import tensorflow as tf

from kerasft.distribution import tpu
from kerasft.errors import UserError


def test_without_a_tpu_there_is_a_user_error():
    with pytest.raises(UserError, match=r"No TPU found \(.*\). Received: distribution='tpu', address=''"):
        tpu.strategy()


def test_it_connects_in_order(monkeypatch):
    """There is no TPU here: this shows only that the steps of TensorFlow's guide are taken, in its order."""
    calls = []

    def record(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs)) or name

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", record("resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", record("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", record("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", record("strategy"))
    assert tpu.strategy("local") == "strategy"
    assert calls == [
        ("resolver", (), {"tpu": "local"}),
        ("connect", ("resolver",), {}),
        ("initialize", ("resolver",), {}),
        ("strategy", ("resolver",), {}),
    ]
