import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.callbacks import TerminateOnNan
from kerasft.errors import UserError

X, Y = np.ones((12, 2), "float32"), np.zeros((12, 1), "float32")


def linear_model(optimizer="sgd"):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def fit(model, x):
    return model.fit(x, Y, batch_size=4, epochs=2, shuffle=False, callbacks=[TerminateOnNan()], verbose=0)


def test_a_finite_loss_goes_on():
    assert len(fit(linear_model(), X).history["loss"]) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_loss_that_is_no_number_ends_fit(value):
    x = X.copy()
    x[9] = value  # In the third batch.
    expected = r"seen at epoch 1, step 3: the loss is (nan|inf) \(mean before: \d\.\d{4}\), at learning rate 1.00e-02"
    with pytest.raises(UserError, match=expected) as error:
        fit(linear_model(), x)
    assert "Received: loss=" in str(error.value)


def test_weights_that_explode_are_noticed_in_a_later_epoch():
    with pytest.raises(UserError, match=r"seen at epoch 2, step \d: .* learning rate 1.00e\+08"):
        fit(linear_model(keras.optimizers.SGD(1e8)), X)


def test_a_loss_that_never_was_a_number_has_none_before():
    with pytest.raises(UserError, match=r"epoch 1, step 1: the loss is nan \(mean before: none"):
        fit(linear_model(), X * np.nan)


def test_it_works_under_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = linear_model()
    with pytest.raises(UserError, match="learning rate 1.00e-02"):
        fit(model, X * np.nan)
