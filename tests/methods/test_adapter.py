import keras
import numpy as np
import pytest

from kerasft import deltas
from kerasft.errors import UserError
from kerasft.methods import Adapter
from kerasft.methods.adapter import Bottleneck
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


def test_by_the_formula():
    random = np.random.default_rng(0)
    layer, inputs = keras.layers.Dense(4), random.normal(size=(2, 3)).astype("float32")
    before = layer(inputs).numpy()
    deltas.attach(layer, delta := Bottleneck(5, "relu"))
    np.testing.assert_array_equal(layer(inputs), before)
    for weight in delta.weights:
        weight.assign(random.normal(size=weight.shape))
    down, down_bias, up, up_bias = (weight.numpy() for weight in (*delta.down.weights, *delta.up.weights))
    np.testing.assert_allclose(
        layer(inputs), before + np.maximum(before @ down + down_bias, 0) @ up + up_bias, atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, {"attention_output", "feedforward_output_dense"}),
        ({"kind": "pfeiffer"}, {"feedforward_output_dense"}),
        ({"layers": "attention_output$"}, {"attention_output"}),
    ],
)
def test_where_they_lie(tiny_bert, arguments, names):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    Adapter(**arguments).attach(model)
    assert {layer.path.rsplit("/", 1)[1] for layer, _ in deltas.of(model)} == names


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_has_a_place_for_them(family):
    model = FineTunedModel(families.make(family).backbone, PooledHead(2, ("tokens", "mask")))
    Adapter().attach(model)
    expected = {"f_net": 2, "albert": 2}.get(family, 4)
    assert len(deltas.of(model)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width=0"),
        ({"kind": "serial"}, "kind='serial'"),
        ({"activation": "no"}, "'no'"),
        ({"scale": 0}, "=0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        Adapter(**arguments)


def test_outputs_of_two_axes_are_refused(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    with pytest.raises(UserError, match="self_attention_layer/query"):
        Adapter(layers="query$").attach(model)


def test_parallel_by_the_formula(tiny_bert):
    random = np.random.default_rng(0)
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    Adapter(kind="parallel", width=3, layers="layer_1/feedforward_output_dense$").attach(model)
    (last, delta), (first, _) = deltas.of(model)
    inputs = random.normal(size=(2, 5, 16)).astype("float32")
    before = last(first(inputs)).numpy()
    for weight in delta.weights:
        weight.assign(random.normal(size=weight.shape))
    down, down_bias, up, up_bias = (weight.numpy() for weight in (*delta.down.weights, *delta.up.weights))
    change = np.maximum(inputs @ down + down_bias, 0) @ up + up_bias
    np.testing.assert_allclose(last(first(inputs)), before + 4 * change, atol=1e-4)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_has_a_feed_forward_to_be_beside(family):
    model = FineTunedModel(families.make(family).backbone, PooledHead(2, ("tokens", "mask")))
    Adapter(kind="parallel", width=2).attach(model)
    pairs = deltas.of(model)
    bottlenecks = [layer for layer, delta in pairs if isinstance(delta, Bottleneck)]
    others = [layer for layer, delta in pairs if not isinstance(delta, Bottleneck)]
    assert len(bottlenecks) == len(others) == (1 if family == "albert" else 2)
    for last, first in zip(bottlenecks, others, strict=True):
        assert last.path.rpartition("/")[0] == first.path.rpartition("/")[0]


def test_parallel_needs_a_whole_feed_forward(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    with pytest.raises(UserError, match="attention_output"):
        Adapter(kind="parallel", layers="attention_output$").attach(model)
