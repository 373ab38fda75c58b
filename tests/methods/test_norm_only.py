import pytest

from kerasft import weights
from kerasft.methods import NormOnly
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_has_normalisation(family):
    pretrained = families.make(family)
    model = FineTunedModel(pretrained.backbone, PooledHead(2, ("tokens", "mask")))
    NormOnly().apply(model)
    names = {path.split("#")[0].rsplit("/", 1)[1] for path in weights.learned(model) if not path.startswith("head/")}
    assert names and names <= {"gamma", "beta", "scale"}


def test_statistics_move_with_the_layer(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    NormOnly().apply(model)
    names = {path.rsplit("/", 1)[1] for path in weights.learned(model) if not path.startswith("head/")}
    assert names == {"gamma", "beta", "moving_mean", "moving_variance"}
