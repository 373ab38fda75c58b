import os
import types

import keras
import numpy as np
import pytest

from kerasft import methods, weights
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(3, ("tokens", "mask")))


@pytest.fixture
def image_model(tiny_efficientnet):
    return FineTunedModel(tiny_efficientnet.backbone, PooledHead(3, ("image",)))


def named(*names):
    return [types.SimpleNamespace(name=name) for name in names]


@pytest.mark.parametrize(
    ("names", "below", "blocks"),
    [
        (
            ["token_embedding", "embeddings", "transformer_layer_0", "transformer_layer_1", "layer_norm"],
            ["token_embedding", "embeddings"],
            ["transformer_layer_0", "transformer_layer_1"],
        ),
        (
            ["stem_conv", "stem_bn", "block1a_dwconv", "block1a_bn", "block2b_expand_conv", "top_conv"],
            ["stem_conv", "stem_bn"],
            ["block1a", "block2b"],
        ),
        (
            ["conv1_conv", "conv1_bn", "conv2_block1_1_conv", "conv2_block1_2_conv", "conv2_block2_1_conv"],
            ["conv1_conv", "conv1_bn"],
            ["conv2_block1", "conv2_block2"],
        ),
        (["embedding", "group_0_inner_layer_0"], ["embedding"], ["group_0"]),
        (["dense"], ["dense"], []),
    ],
)
def test_blocks(names, below, blocks):
    found_below, found = weights.blocks(named(*names))
    assert [layer.name for layer in found_below] == below
    assert list(found) == blocks


def test_blocks_of_a_bert_hold_all_its_layers(model):
    below, blocks = weights.blocks(model.backbone_layers)
    assert list(blocks) == ["transformer_layer_0", "transformer_layer_1"]
    assert {layer.name for layer in below} == {"token_embedding", "position_embedding", "segment_embedding"} | {
        "embeddings_layer_norm"
    }


def test_blocks_of_an_efficientnet(image_model):
    below, blocks = weights.blocks(image_model.backbone_layers)
    assert len(blocks) == 2
    assert all("stem" in layer.name for layer in below)


def test_matching_layers(model):
    found = weights.matching_layers(model, r"transformer_layer_1/.*(query|value)$")
    assert sorted(layer.name for layer in found) == ["query", "value"]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [("nonsense", "No layer path matches. Paths look like: "), ("(", "is not a regular expression")],
)
def test_matching_nothing_is_an_error_that_shows_paths(model, pattern, part):
    with pytest.raises(UserError) as error:
        weights.matching_layers(model, pattern)
    assert part in str(error.value)
    assert str(error.value).endswith(f"Received: layers={pattern!r}")


def test_layers_below_the_head(model):
    found = weights.layers_below_head(model)
    assert not {id(layer) for layer in (model.head, model.head.logits, model.head.dropout)} & set(map(id, found))
    assert "query" in [layer.name for layer in found]


def test_count(model):
    assert weights.count(model.head.weights) == 16 * 3 + 3
    assert weights.count([]) == 0
    assert weights.count(model.weights) == model.count_params()


def test_every_weight_is_found_by_its_path(model, image_model):
    for made in (model, image_model):
        found = weights.by_path(made)
        assert list(found) == [weight.path for weight in made.weights]
        assert all(found[weight.path] is weight for weight in made.weights)


def test_weights_of_one_path_are_numbered():
    same = [types.SimpleNamespace(path="o_proj/kernel") for _ in range(3)]
    found = weights.by_path(types.SimpleNamespace(weights=same))
    assert list(found) == ["o_proj/kernel", "o_proj/kernel#2", "o_proj/kernel#3"]
    assert list(found.values()) == same


def test_learned_is_all_with_full_and_the_head_with_linear_probe(image_model):
    methods.Full().apply(image_model)
    assert weights.learned(image_model).keys() == {weight.path for weight in image_model.weights}
    methods.LinearProbe().apply(image_model)
    assert weights.learned(image_model).keys() == {"head/logits/kernel", "head/logits/bias"}


def test_learned_holds_the_statistics_of_layers_that_learn(image_model):
    methods.Freeze(blocks=1).apply(image_model)
    learned = weights.learned(image_model)
    for weight in image_model.weights:
        layer = next(layer for layer in image_model.layers if any(weight is w for w in layer.weights))
        assert (weight.path in learned) == layer.trainable


def test_trainable_table_adds_up(model):
    methods.Freeze(blocks=1).apply(model)
    table = weights.trainable_table(model)
    assert [name for name, _, _ in table] == ["embeddings / stem", "transformer_layer_0", "transformer_layer_1", "head"]
    assert sum(total for _, total, _ in table) == model.count_params()
    assert [learn for _, _, learn in table][:2] == [0, 0]
    assert sum(learn for _, _, learn in table) == weights.count(model.trainable_weights)


def test_save_and_load_give_the_same_bits(model, tmp_path):
    path = os.path.join(tmp_path, "weights.safetensors")
    variables = {weight.path: weight for weight in model.weights}
    before = [weight.numpy() for weight in model.weights]
    weights.save(path, variables)
    for weight in model.weights:
        weight.assign(keras.ops.zeros_like(weight))
    weights.load(path, variables)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))
    assert weights.paths(path) == variables.keys()
    assert os.listdir(tmp_path) == ["weights.safetensors"]


def test_load_refuses_other_names_and_shapes(model, tmp_path):
    path = os.path.join(tmp_path, "weights.safetensors")
    kernel, bias = model.head.weights
    weights.save(path, {"a": kernel, "b": bias})
    for variables in ({"a": kernel}, {"a": kernel, "c": bias}, {"a": bias, "b": bias}):
        before = [variable.numpy() for variable in variables.values()]
        with pytest.raises(UserError, match=r"does not hold the weights of this model.*Received: \["):
            weights.load(path, variables)
        assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, variables.values(), strict=True))


def test_a_save_that_fails_leaves_the_old_file(model, tmp_path):
    path = os.path.join(tmp_path, "weights.safetensors")
    weights.save(path, {"a": model.head.weights[0]})
    with open(path, "rb") as file:
        before = file.read()
    with pytest.raises(ValueError, match="None"):
        weights.save(path, {"a": None})
    with open(path, "rb") as file:
        assert file.read() == before


def test_fingerprint_sees_one_bit_and_the_order(model):
    kernel, bias = model.head.weights
    before = weights.fingerprint([kernel, bias])
    assert weights.fingerprint([kernel, bias]) == before
    assert weights.fingerprint([bias, kernel]) != before
    changed = kernel.numpy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(1))
    kernel.assign(changed)
    assert weights.fingerprint([kernel, bias]) != before
