import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from kerasft import quantization, surgery, weights
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

RANDOM = np.random.default_rng(0)


def test_the_levels_of_normal_float_are_quantiles():
    offset = 0.9677083  # Of bitsandbytes, the paper's implementation.
    above, below = norm.ppf(np.linspace(offset, 0.5, 9)[:-1]), norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort([*above, *-below, 0])
    np.testing.assert_allclose(quantization.NORMAL_FLOAT, levels / levels.max(), atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 16), (3, 5, 7), (1, 1)])
@pytest.mark.parametrize("bits", [4, 8])
def test_each_weight_is_the_nearest_level_of_its_block(shape, bits):
    kernel = RANDOM.normal(size=shape).astype("float32")
    decoded = quantization.decode(*map(tf.constant, quantization.encode(kernel, bits)), shape, "float32").numpy()
    levels = quantization.NORMAL_FLOAT if bits == 4 else np.arange(-127, 128, dtype="float32") / 127
    for start in range(0, kernel.size, 64):
        block = kernel.reshape(-1)[start : start + 64]
        scaled = levels * np.abs(block).max()
        nearest = scaled[np.abs(block[:, None] - scaled[None]).argmin(axis=1)]
        np.testing.assert_allclose(decoded.reshape(-1)[start : start + 64], nearest, atol=1e-6)


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_stay_zeros(bits):
    codes, scales = quantization.encode(np.zeros((4, 40), "float32"), bits)
    np.testing.assert_array_equal(quantization.decode(tf.constant(codes), tf.constant(scales), (4, 40), "float32"), 0)


def made(kind):
    layers = {
        "dense": keras.layers.Dense(5, activation="relu"),
        "einsum": keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de"),
        "einsum turned": keras.layers.EinsumDense("abc,dce->adbe", (2, None, 5), activation="tanh"),
    }
    layer, inputs = layers[kind], RANDOM.normal(size=(2, 3, 4)).astype("float32")
    layer(inputs)
    return layer, tf.constant(inputs)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["dense", "einsum", "einsum turned"])
def test_outputs_and_gradients_are_those_of_the_decoded_kernel(kind, bits):
    layer, inputs = made(kind)
    quantization.quantize(layer, bits)
    plain = type(layer).from_config(layer.get_config())
    plain(inputs)
    (kernel,) = (part for part in surgery.sublayers(layer) if isinstance(part, quantization.QuantizedKernel))
    plain.kernel.assign(kernel.kernel("float32"))
    found = []
    for each in (layer, plain):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.function(each)(inputs)
        found.append((outputs, tape.gradient(outputs, inputs)))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)


@pytest.mark.parametrize(("bits", "bytes_each"), [(4, 0.5625), (8, 1.0625)])
def test_the_memory(bits, bytes_each):
    layer = keras.layers.Dense(64, use_bias=False)
    layer.build((None, 32))
    quantization.quantize(layer, bits)
    assert sum(weights.view(variable).nbytes for variable in layer.weights) == bytes_each * 64 * 32
    assert layer.kernel is None and not layer.trainable_weights


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def test_paths_and_what_comes_back_for_a_while(model):
    before = set(weights.by_path(model))
    chosen = quantization.layers(model)
    for layer in chosen:
        quantization.quantize(layer, 8)
    own = {f"{layer.path}/{name}" for layer in chosen for name in ("quantized_kernel/codes", "quantized_kernel/scales")}
    dropped = {f"{layer.path}/kernel" for layer in chosen}
    assert set(weights.by_path(model)) == (before - dropped) | own
    with quantization.dequantized(model):
        assert set(weights.by_path(model)) == before | own
    assert set(weights.by_path(model)) == (before - dropped) | own


def test_the_head_stays_as_it_is(model):
    assert {type(layer) for layer in quantization.layers(model)} == {keras.layers.Dense, keras.layers.EinsumDense}
    assert not any(layer.path.startswith("head") for layer in quantization.layers(model))


def test_in_lower_precision(model):
    ids = RANDOM.integers(5, 40, (4, 6))
    batch = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    for layer in quantization.layers(model):
        quantization.quantize(layer, 4)
    expected = model(batch).numpy()
    surgery.set_dtype_policy(model, "mixed_bfloat16")
    np.testing.assert_allclose(model(batch), expected, atol=0.05)
    assert {kernel.scales.dtype for _, kernel in quantization.of(model)} == {"float32"}
    surgery.set_dtype_policy(model, "float32")
    np.testing.assert_array_equal(model(batch), expected)
