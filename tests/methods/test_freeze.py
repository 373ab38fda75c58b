import pytest

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods import Freeze
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

EMBEDDINGS = {"token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm"}


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def frozen(model):
    return {layer.name for layer in model.backbone_layers if not layer.trainable_weights}


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (Freeze(), EMBEDDINGS),
        (Freeze(blocks=1), {*EMBEDDINGS, "transformer_layer_0"}),
        (Freeze(blocks=2), {*EMBEDDINGS, "transformer_layer_0", "transformer_layer_1"}),
        (Freeze(embeddings=False, layers="transformer_layer_1$"), {"transformer_layer_1"}),
        (Freeze(layers="transformer_layer_1$"), {*EMBEDDINGS, "transformer_layer_1"}),
    ],
)
def test_what_is_frozen(model, method, names):
    method.apply(model)
    assert frozen(model) == names
    assert len(model.head.trainable_weights) == 2


def test_layers_within_layers(model):
    Freeze(embeddings=False, layers="(query|key)$").apply(model)
    still = [path for path in weights.by_path(model) if path not in weights.learned(model)]
    assert len(still) == 8
    assert all("query" in path or "key" in path for path in still)


def test_it_can_be_applied_again(model):
    Freeze(blocks=2).apply(model)
    Freeze(blocks=1).apply(model)
    assert "transformer_layer_1" not in frozen(model)


def test_blocks_of_an_image_backbone(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    Freeze(blocks=1).apply(model)
    below, blocks = weights.blocks(model.backbone_layers)
    first, second = blocks.values()
    assert frozen(model) == {layer.name for layer in [*below, *first]}
    assert all(layer.trainable for layer in second)


def test_more_blocks_than_there_are(model):
    with pytest.raises(UserError, match=r"has 2 blocks \(transformer_layer_0, .*\). Received: blocks=3"):
        Freeze(blocks=3).apply(model)


def test_no_such_layer(model):
    with pytest.raises(UserError, match="No layer path matches"):
        Freeze(layers="nonsense").apply(model)


@pytest.mark.parametrize(
    "arguments", [{"blocks": -1}, {"blocks": 1.5}, {"blocks": "2"}, {"embeddings": False}, {"blocks": None}]
)
def test_unusable_arguments(arguments):
    with pytest.raises(UserError, match="freeze: .*Received: "):
        Freeze(**arguments)


def test_blocks_within_an_encoder_layer(make_tiny):
    model = FineTunedModel(make_tiny("vit").backbone, PooledHead(2, ("image",)))
    Freeze(blocks=1).apply(model)
    assert frozen(model) == {"vit_patching_and_embedding", "transformer_block_1"}
