import pytest

from kerasft.methods import Freeze, Full
from kerasft.model import FineTunedModel
from kerasft.tasks.text_classification import ClassificationHead


@pytest.fixture
def model(tiny_efficientnet):
    return FineTunedModel(tiny_efficientnet.backbone, ClassificationHead(2, ("image",)))


def test_everything_learns(model):
    Full().apply(model)
    statistics = [weight for weight in model.weights if weight.name.startswith("moving_")]
    assert len(statistics) > 4
    assert len(model.trainable_weights) == len(model.weights) - len(statistics)


def test_it_undoes_what_was_frozen_before(model):
    Freeze(blocks=1).apply(model)
    Full().apply(model)
    assert all(layer.trainable for layer in model.layers)


def test_one_stage(model):
    (stage,) = Full().stages(model, 3)
    assert (stage.name, stage.epochs) == ("Full", 3)


def test_learning_rates():
    assert Full.learning_rate == {"text": 5e-5, "image": 5e-4}
