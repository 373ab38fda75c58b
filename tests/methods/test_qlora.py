import keras
import numpy as np
import pytest

from kerasft import deltas, quantization, weights
from kerasft.errors import UserError
from kerasft.methods import QLoRA
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


def model_of(pretrained):
    return FineTunedModel(pretrained.backbone, PooledHead(2, ("tokens", "mask")))


def batch():
    ids = np.random.default_rng(0).integers(5, 40, (4, 6))
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}


def size(model):
    return sum(weights.view(variable).nbytes for variable in model.variables)


def test_it_begins_near_the_pretrained_backbone_and_nearer_with_more_bits(make_tiny):
    expected, errors, sizes = model_of(make_tiny("bert"))(batch()).numpy(), {}, {}
    for bits in (4, 8):
        model = model_of(make_tiny("bert"))
        model.head.set_weights([np.ones_like(weight) for weight in model.head.get_weights()])
        outputs = model(batch()).numpy()
        QLoRA(bits=bits, rank=1).attach(model)
        errors[bits], sizes[bits] = np.abs(model(batch()) - outputs).max(), size(model)
    assert 0 < errors[8] < 0.01 and errors[8] < errors[4] < 0.2
    assert sizes[4] < sizes[8] < size(model_of(make_tiny("bert")))
    assert expected.shape == (4, 2)


def test_no_float_kernel_is_left_below_the_head(tiny_bert):
    model = model_of(tiny_bert)
    QLoRA().attach(model)
    kernels = [path for path in weights.by_path(model) if path.endswith("/kernel")]
    assert kernels == ["head/logits/kernel"]
    assert len(quantization.of(model)) == 12 == len(deltas.of(model))


def test_the_updates_and_the_head_learn(tiny_bert):
    model = model_of(tiny_bert)
    method = QLoRA(layers="layer_1/.*query$")
    method.attach(model)
    method.apply(model)
    own = "transformer_layer_1/self_attention_layer/query/lora"
    assert set(weights.learned(model)) == {f"{own}/a", f"{own}/b", "head/logits/kernel", "head/logits/bias"}
    assert len(quantization.of(model)) == 12


@pytest.mark.parametrize("bits", [4, 8])
def test_merged_outputs_are_the_same_and_it_is_undone(tiny_bert, bits):
    model, random = model_of(tiny_bert), np.random.default_rng(1)
    QLoRA(rank=2, bits=bits, layers="query$|output_dense$").attach(model)
    for _, delta in deltas.of(model):
        delta.b.assign(random.normal(size=delta.b.shape))
    expected, before = model(batch()).numpy(), weights.fingerprint(model.weights)
    with deltas.merged(model):
        np.testing.assert_allclose(model(batch()), expected, atol=1e-5)
        assert not any(kernel.is_on for _, kernel in quantization.of(model))
    np.testing.assert_array_equal(model(batch()), expected)
    assert weights.fingerprint(model.weights) == before


def test_an_update_by_the_formula(tiny_bert):
    model, random = model_of(tiny_bert), np.random.default_rng(1)
    QLoRA(rank=2, alpha=4, layers="layer_0/feedforward_intermediate_dense$").attach(model)
    ((layer, delta),) = deltas.of(model)
    delta.b.assign(random.normal(size=delta.b.shape))
    kernel = dict((id(owner), part) for owner, part in quantization.of(model))[id(layer)].kernel("float32").numpy()
    inputs = random.normal(size=(3, 16)).astype("float32")
    linear = inputs @ (kernel + 2 * delta.a.numpy() @ delta.b.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(layer(inputs), keras.activations.gelu(linear, approximate=True), atol=1e-5)


def test_the_base_is_the_same_each_time(make_tiny):
    found = set()
    for _ in range(2):
        model = model_of(make_tiny("bert"))
        QLoRA().attach(model)
        found.add(weights.fingerprint([weight for path, weight in weights.by_path(model).items() if "quant" in path]))
    assert len(found) == 1


@pytest.mark.parametrize("family", ["albert", "f_net", "gemma", "smollm3"])
def test_families_with_layers_of_other_names(family):
    model = model_of(families.make(family))
    QLoRA().attach(model)
    assert len(quantization.of(model)) == len(deltas.of(model)) >= 5


@pytest.mark.parametrize(("arguments", "message"), [({"bits": 3}, "bits=3"), ({"rank": 0}, "rank=0")])
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        QLoRA(**arguments)


def test_a_backbone_of_convolutions(tiny_efficientnet):
    with pytest.raises(UserError, match="no Dense or EinsumDense"):
        QLoRA().attach(FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",))))
