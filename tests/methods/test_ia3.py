import keras
import numpy as np
import pytest

from kerasft import deltas
from kerasft.errors import UserError
from kerasft.methods import IA3
from kerasft.methods.ia3 import Scale
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("place", ["linear", "input"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: keras.layers.Dense(5), (2, 3, 4)),
        (lambda: keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de"), (2, 3, 4)),
        (lambda: keras.layers.EinsumDense("abcd,cde->abe", (None, 5), bias_axes="e"), (2, 3, 2, 4)),
    ],
)
def test_it_begins_as_nothing_and_equals_its_merged_kernel(place, layer, shape):
    layer, inputs = layer(), RANDOM.normal(size=shape).astype("float32")
    before = layer(inputs)
    layer.bias.assign(RANDOM.normal(size=layer.bias.shape))
    before = layer(inputs)
    delta = Scale(place)
    deltas.attach(layer, delta)
    np.testing.assert_allclose(layer(inputs), before, atol=1e-6)
    delta.factor.assign(RANDOM.normal(size=delta.factor.shape))
    changed = layer(inputs).numpy()
    delta.merge(layer)
    delta.is_on = False
    assert np.abs(changed - before).max() > 0.1
    np.testing.assert_allclose(layer(inputs), changed, atol=1e-5)


def test_the_factors_of_a_dense_layer():
    layer, inputs = keras.layers.Dense(2), np.array([[1.0, 2.0]], "float32")
    layer(inputs)
    layer.kernel.assign([[1.0, 2.0], [3.0, 4.0]])
    deltas.attach(layer, outputs := Scale("linear"))
    outputs.factor.assign([10.0, 100.0])
    np.testing.assert_allclose(layer(inputs), [[70.0, 1000.0]])


def test_keys_values_and_feed_forward(tiny_bert):
    model = FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))
    IA3().attach(model)
    names = sorted(layer.path.rsplit("/", 1)[1] for layer, _ in deltas.of(model))
    assert names == ["feedforward_output_dense"] * 2 + ["key"] * 2 + ["value"] * 2
    assert sum(np.prod(weight.shape) for _, delta in deltas.of(model) for weight in delta.weights) == 2 * (16 + 16 + 32)


def test_a_backbone_without_attention_is_refused(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    with pytest.raises(UserError, match="No layer path matches"):
        IA3().attach(model)
