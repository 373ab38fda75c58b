import pytest

from kerasft.errors import UserError
from kerasft.methods import LPFT
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def test_the_head_then_everything(model):
    probe, full = LPFT(probe_epochs=2).stages(model, 5)
    assert (probe.epochs, full.epochs) == (2, 3)
    assert (probe.learning_rate, full.learning_rate) == (5e-3, None)
    assert not full.continues
    probe.apply(model)
    assert [weight.path for weight in model.trainable_weights] == ["head/logits/kernel", "head/logits/bias"]
    full.apply(model)
    assert len(model.trainable_weights) == len(model.weights)


def test_the_backbone_is_in_inference_mode_while_the_head_learns(model):
    probe, full = LPFT().stages(model, 2)
    model.choose(probe.apply)
    assert model.frozen.blocks == 2
    model.choose(full.apply)
    assert model.frozen is None


def test_too_few_epochs(model):
    with pytest.raises(UserError, match="more than probe_epochs=3. Received: 3"):
        LPFT(probe_epochs=3).stages(model, 3)


@pytest.mark.parametrize(
    "arguments", [{"probe_epochs": 0}, {"probe_learning_rate": 0}, {"probe_learning_rate": "1e-3"}]
)
def test_arguments_out_of_range(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(UserError, match=f"lp_ft: {name} must be .* Received: {name}={value!r}"):
        LPFT(**arguments)
