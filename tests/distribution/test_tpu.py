import pytest
import tensorflow as tf

from kerasft.distribution import tpu
from kerasft.errors import UserError


def test_without_a_tpu_there_is_a_user_error():
    with pytest.raises(UserError, match=r"No TPU found \(.*\). Received: distribution='tpu', address=''"):
        tpu.strategy()


@pytest.mark.parametrize(
    ("address", "attached", "connected"), [("local", [], "local"), (None, ["TPU:0"], "local"), (None, [], "")]
)
def test_it_connects_in_order(monkeypatch, address, attached, connected):
    """There is no TPU here: this shows only that the steps of TensorFlow's guide are taken, in its order."""
    calls = []

    def record(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs)) or name

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", record("resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", record("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", record("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", record("strategy"))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: attached)
    assert tpu.strategy(address) == "strategy"
    assert calls == [
        ("resolver", (), {"tpu": connected}),
        ("connect", ("resolver",), {}),
        ("initialize", ("resolver",), {}),
        ("strategy", ("resolver",), {}),
    ]
