import keras
import numpy as np

from kerasft.losses.cosine_error import CosineError


def test_it_is_the_squared_error_of_the_cosine():
    vectors = np.random.default_rng(0).normal(size=(10, 6)).astype("float32")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = np.linspace(0, 1, 5)[:, None]
    expected = ((unit[:5] * unit[5:]).sum(1) - targets[:, 0]) ** 2
    np.testing.assert_allclose(CosineError(reduction=None)(targets, vectors), expected, rtol=1e-5)
    both = (CosineError()(targets, vectors) + CosineError()(targets, vectors[:, :3])) / 2
    np.testing.assert_allclose(CosineError([None, 3])(targets, vectors), both, rtol=1e-5)


def test_it_is_made_again_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(CosineError([None, 2])))
    assert again.sizes == [None, 2]
