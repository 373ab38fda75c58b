"""Averages of weights in a whole training: its stages, an interruption, the statistics at the end."""

import os

import keras
import numpy as np
import pytest

import kerasft
from kerasft import methods, recipe
from kerasft.callbacks import Ema, Progress, Swa, TerminateOnNan
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.methods.base import Stage
from kerasft.training import callbacks as training_callbacks
from kerasft.training import fit as training
from tests.interruption import Crash


def settings(made):
    return training.Settings(None, "constant", 1e-2, 4, 8, 0, made.directory)


def train(made, callbacks):
    stages = [Stage("head", 2, methods.LinearProbe().apply), Stage("all", 2, methods.Full().apply, continues=True)]
    return training.fit(made.model, made.task, stages, (made.examples, None), settings(made), lambda: callbacks)


@pytest.mark.parametrize(
    "crash",
    [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)],
    ids=["first stage", "between", "second stage"],
)
@pytest.mark.parametrize("make_average", [lambda: Ema(0.9), lambda: Swa(1)], ids=["ema", "swa"])
def test_an_interrupted_run_ends_in_the_same_average(session, make_average, crash):
    whole, broken, resumed = session(), session(), session()
    train(whole, [make_average()])
    resumed.directory = broken.directory
    with pytest.raises(KeyboardInterrupt):
        train(broken, [make_average(), Crash(crash)])
    train(resumed, [make_average()])
    for ours, theirs in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


def test_averages_come_before_what_keeps_weights():
    average, own = Ema(), keras.callbacks.Callback()
    made = training_callbacks.arrange([own, average], 8, ("val_accuracy", "max"), lambda: "tensorboard")
    kinds = [callback if isinstance(callback, str) else type(callback) for callback in made]
    expected = [Ema, Progress, TerminateOnNan, "tensorboard", keras.callbacks.EarlyStopping, keras.callbacks.Callback]
    assert kinds == expected


def test_fit_takes_callbacks_by_name(make_tiny, reviews, tmp_path):
    tuner = FineTuner("text_classification", make_tiny("bert"), "linear_probe", precision="float32")
    given = [{"name": "swa", "start": 1}, keras.callbacks.Callback()]
    tuner.fit(reviews, epochs=1, batch_size=8, directory=tmp_path / "run", callbacks=given)
    assert recipe.read(tmp_path / "run" / "recipe.yaml")["callbacks"] == [{"name": "swa", "start": 1}]
    expected = tuner.predict(["a good film"])["scores"]
    np.testing.assert_allclose(kerasft.load(tmp_path / "run").predict(["a good film"])["scores"], expected, atol=1e-6)


def test_unknown_callbacks_are_refused_before_anything_is_loaded(tmp_path):
    tuner = FineTuner("text_classification", "x")
    with pytest.raises(UserError, match="no argument 'decoy'. Did you mean 'decay'"):
        tuner.fit([{"text": "a", "label": "b"}], callbacks=[{"name": "ema", "decoy": 0.9}])
    made = {"task": "text_classification", "backbone": "x", "data": "x.csv", "callbacks": ["emma", {"name": "swa"}]}
    with pytest.raises(UserError, match=r"callbacks.0: .*Did you mean 'ema'"):
        recipe.check(made, (FineTuner, FineTuner.fit))
    assert not os.listdir(tmp_path)


def test_swa_estimates_the_statistics_of_batch_norm_again(make_tiny, png_images, tmp_path):
    tuner = FineTuner("image_classification", make_tiny("efficientnet"), precision="float32", learning_rate=0.01)
    tuner.fit(png_images, epochs=2, batch_size=8, directory=tmp_path / "run", callbacks=[Swa(1)])
    layer = next(x for x in tuner.model.layers if isinstance(x, keras.layers.BatchNormalization))
    (batch, _), *others = tuner.batches(png_images)
    assert not others
    seen = keras.Model(tuner.model.input, layer.input)(batch).numpy()
    np.testing.assert_allclose(layer.moving_mean.numpy(), seen.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4)


def test_an_average_of_nothing_is_said(session):
    made = session()
    with pytest.warns(UserWarning, match=r"'start': 9\}: training ended before it began; nothing was averaged"):
        training_callbacks.finish(made.model, [Swa(9)], made.examples, settings(made))
