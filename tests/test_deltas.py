import keras
import numpy as np
import pytest

from kerasft import deltas, surgery, weights
from kerasft.errors import UserError
from kerasft.methods import Adapter, LoRA
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead


class Add(deltas.Delta):
    """Adds a number, at a place of choice."""

    def __init__(self, value, place):
        super().__init__(name=f"add_{place}")
        self.value, self.place = value, place

    def build_for(self, layer):
        self.number = self.add_weight(name="number", shape=())
        self.number.assign(self.value)

    def call(self, inputs, outputs=None):
        return (inputs if outputs is None else outputs) + self.number


def dense():
    layer = keras.layers.Dense(1, activation="relu", kernel_initializer="ones")
    layer(np.zeros((1, 2)))
    return layer


@pytest.mark.parametrize(("place", "expected"), [("input", 5.0), ("linear", 4.0), ("output", 4.0)])
def test_places_above_the_threshold(place, expected):
    layer = dense()
    deltas.attach(layer, Add(1.0, place))
    assert float(layer(np.array([[1.0, 2.0]]))[0, 0]) == expected


@pytest.mark.parametrize(("place", "expected"), [("input", 0.0), ("linear", 0.0), ("output", 1.0)])
def test_places_below_the_threshold(place, expected):
    layer = dense()
    deltas.attach(layer, Add(1.0, place))
    assert float(layer(np.array([[-1.0, -2.0]]))[0, 0]) == expected
    assert layer.activation is keras.activations.relu


def test_two_on_one_layer_act_one_after_the_other():
    layer = dense()
    deltas.attach(layer, Add(1.0, "input"))
    deltas.attach(layer, Add(10.0, "output"))
    assert float(layer(np.array([[1.0, 2.0]]))[0, 0]) == 15.0


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


@pytest.fixture
def batch():
    ids = np.random.default_rng(0).integers(5, 40, (4, 6))
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}


def test_paths_are_those_of_the_layer_whatever_was_made_before(model, tiny_bert):
    for _ in range(2):
        keras.layers.Dense(2).build((None, 2))
    LoRA(layers="layer_0/.*key$").attach(model)
    own = [path for path in weights.by_path(model) if "lora" in path]
    assert own == [f"transformer_layer_0/self_attention_layer/key/lora/{name}" for name in "ab"]


def test_merged_has_the_same_outputs_and_is_undone(model, batch):
    LoRA(rank=2).attach(model)
    plain = model(batch).numpy()
    random = np.random.default_rng(1)
    for _, delta in deltas.of(model):
        delta.b.assign(random.normal(size=delta.b.shape))
    changed, kernels = model(batch).numpy(), {path: v.numpy() for path, v in weights.by_path(model).items()}
    assert np.abs(changed - plain).max() > 1e-3
    with deltas.merged(model):
        np.testing.assert_allclose(model(batch), changed, atol=1e-5)
        assert not any(delta.is_on for _, delta in deltas.of(model))
    np.testing.assert_array_equal(model(batch), changed)
    for path, variable in weights.by_path(model).items():
        np.testing.assert_array_equal(variable.numpy(), kernels[path], err_msg=path)


def test_what_cannot_be_merged_stays_on(model, batch):
    Adapter(width=2).attach(model)
    before = model(batch)
    with deltas.merged(model):
        assert all(delta.is_on for _, delta in deltas.of(model))
        np.testing.assert_array_equal(model(batch), before)


def test_train_only(model):
    LoRA(layers="layer_1/.*query$").attach(model)
    deltas.train_only(model)
    assert {weight.path.rsplit("/", 1)[1] for weight in model.trainable_weights} == {"a", "b", "kernel", "bias"}
    assert len(model.trainable_weights) == 4


def test_in_lower_precision(model, batch):
    LoRA().attach(model)
    surgery.set_dtype_policy(model, "mixed_bfloat16")
    assert {delta.compute_dtype for _, delta in deltas.of(model)} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights if "lora" in weight.path} == {"float32"}
    assert model(batch).dtype == "float32"


def test_choose_names_what_is_wrong(model):
    with pytest.raises(UserError, match=r"of these kinds: Dense, EinsumDense.*embeddings_layer_norm"):
        deltas.choose(model, "embeddings_layer_norm")
