import pytest

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods import BitFit, Full
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


def test_biases_and_shifts_learn(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    BitFit().apply(model)
    learned = set(weights.learned(model))
    assert {path.rsplit("/", 1)[1] for path in learned if not path.startswith("head/")} == {"bias", "beta"}
    biases = {path for path in weights.by_path(model) if path.endswith(("/bias", "/beta"))}
    assert learned == biases | {"head/logits/kernel", "head/logits/bias"}


def test_full_undoes_it(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    BitFit().apply(model)
    Full().apply(model)
    assert len(model.trainable_weights) == len(model.weights)


def test_a_backbone_without_biases_is_refused():
    model = FineTunedModel(families.make("llama").backbone, PooledHead(2, ("tokens", "mask"), "last"))
    with pytest.raises(UserError, match="no biases"):
        BitFit().apply(model)
