"""Without a TPU there is a clear message, and nothing hangs."""

import pytest
import tensorflow as tf

from kerasft.distribution.tpu import strategy
from kerasft.errors import UserError


def test_no_tpu(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)

    def missing(tpu):
        raise ValueError("Please provide a TPU Name to connect to.")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", missing)
    with pytest.raises(UserError, match="No TPU found.*Received: distribution='tpu'"):
        strategy()
