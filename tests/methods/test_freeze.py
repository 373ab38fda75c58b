"""The lower part of the backbone stays as it is."""

import pytest

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.methods.freeze import Freeze


def frozen_layers(backbone, method, task="text_classification"):
    model = FineTuner(task, backbone, method, labels=["a", "b"]).model
    return {layer.name for layer in model.backbone_layers if not layer.trainable}


EMBEDDINGS = {"token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm"}


def test_embeddings_alone(tiny_bert):
    assert frozen_layers(tiny_bert, "freeze") == EMBEDDINGS


def test_blocks_and_all_below_them(tiny_bert):
    assert frozen_layers(tiny_bert, {"name": "freeze", "blocks": 1}) == EMBEDDINGS | {"transformer_layer_0"}


def test_layers_by_pattern(tiny_bert):
    method = Freeze(embeddings=False, layers="transformer_layer_1$")
    assert frozen_layers(tiny_bert, method) == {"transformer_layer_1"}


def test_image_blocks(tiny_efficientnet):
    names = frozen_layers(tiny_efficientnet, {"name": "freeze", "blocks": 1}, "image_classification")
    assert names and not any(name.startswith("block2") for name in names)
    assert any(name.startswith("block1") for name in names)


def test_more_blocks_than_there_are(tiny_bert):
    with pytest.raises(UserError, match=r"has 2 blocks \(transformer_layer_0, transformer_layer_1\).*blocks=9"):
        frozen_layers(tiny_bert, {"name": "freeze", "blocks": 9})


@pytest.mark.parametrize("blocks", [-1, 1.5, "two"])
def test_blocks_must_be_a_count(blocks):
    with pytest.raises(UserError, match="whole number, 0 or more"):
        Freeze(blocks=blocks)


def test_nothing_to_freeze():
    with pytest.raises(UserError, match="use method 'full'"):
        Freeze(embeddings=False)
