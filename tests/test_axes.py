import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.axes import Axes, product, scaled

RANDOM = np.random.default_rng(0)


def test_of_a_dense_layer():
    layer = keras.layers.Dense(5)
    layer.build((None, 4))
    axes = Axes(layer)
    assert (axes.read, axes.kernel, axes.written, axes.rest) == ("...a", "ab", "...b", "...")
    assert axes.sizes((4, 5)) == ((4,), (5,))


def test_of_an_einsum_dense_layer():
    layer = keras.layers.EinsumDense("abcd,cde->abe", (None, 5))
    layer.build((None, 3, 2, 4))
    axes = Axes(layer)
    assert (axes.inputs, axes.outputs, axes.rest) == ("cd", "e", "ab")
    assert axes.sizes((2, 4, 5)) == ((2, 4), (5,))
    assert axes.free not in "abcde"


@pytest.mark.parametrize(
    ("equation", "shape", "kernel_shape"),
    [
        ("...a,ab->...b", (2, 3, 4), (4, 5)),
        ("abc,cde->abde", (2, 3, 4), (4, 5, 6)),
        ("abde,cde->abc", (2, 3, 5, 6), (4, 5, 6)),
        ("abc,dce->adbe", (2, 3, 4), (5, 4, 6)),
        ("abc,bcd->abd", (2, 3, 4), (3, 4, 5)),  # One kernel for each b.
    ],
)
def test_a_product_is_that_of_an_einsum(equation, shape, kernel_shape):
    x, kernel = (tf.constant(RANDOM.normal(size=size).astype("float32")) for size in (shape, kernel_shape))
    read, letters, written = equation.replace("->", ",").split(",")
    expected = np.einsum(equation, x, kernel)
    np.testing.assert_allclose(product(x, kernel, read, letters, written), expected, atol=1e-5)


def test_a_product_of_an_unknown_number_of_rows():
    kernel = tf.constant(RANDOM.normal(size=(4, 5)).astype("float32"))
    function = tf.function(
        lambda x: product(x, kernel, "...a", "ab", "...b"), input_signature=[tf.TensorSpec((None, None, 4))]
    )
    assert function(np.zeros((0, 3, 4), "float32")).shape == (0, 3, 5)
    x = RANDOM.normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(function(x), x @ kernel.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("axes", "letters", "shape", "sizes"),
    [
        ("...a", "a", (2, 3, 4), (4,)),
        ("abcd", "cd", (2, 3, 4, 5), (4, 5)),
        ("abcd", "db", (2, 3, 4, 5), (5, 3)),
        ("ab", "a", (3, 4), (3,)),
        ("a...b", "b", (2, 3, 4), (4,)),
    ],
)
def test_scaled_is_what_an_einsum_makes(axes, letters, shape, sizes):
    x, factor = (tf.constant(RANDOM.normal(size=size).astype("float32")) for size in (shape, sizes))
    expected = tf.einsum(f"{axes},{letters}->{axes}", x, factor)
    np.testing.assert_allclose(scaled(x, factor, axes, letters), expected, atol=1e-6)
