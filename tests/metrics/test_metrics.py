"""What every metric of the folder must do, whatever it measures: the folder is the list."""

import inspect
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasft import registry

# Those of classifiers; `span_f1` measures sequences.
NAMES = [name for name in registry.names("metrics") if name != "span_f1"]

UNDER_A_STRATEGY = """
import json
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from kerasft import registry


def measured(strategy):
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(69, 4)), rng.integers(3, size=69), rng.integers(0, 3, size=69).astype("float32")
    with strategy.scope():
        arguments = {name: {"num_classes": 3} for name in registry.names("metrics") if name != "span_f1"}
        arguments |= {"log_loss": {}, "auroc": {"num_classes": 3, "max_examples": 100}}
        metrics = [registry.find("metrics", name)(**given) for name, given in arguments.items()]
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="ones")])
        model.layers[0].set_weights([rng.normal(size=(4, 3)), np.zeros(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, weighted_metrics=metrics)
    first = model.evaluate(x, y, sample_weight=weights, batch_size=16, return_dict=True, verbose=0)
    again = model.evaluate(x, y, sample_weight=weights, batch_size=16, return_dict=True, verbose=0)
    return [first, again]


one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([measured(one), measured(two)]))
"""


def make(plugin_name, **arguments):
    plugin = registry.find("metrics", plugin_name)
    takes = inspect.signature(plugin).parameters
    return plugin(**({"num_classes": 3} if "num_classes" in takes else {}), **arguments)


def fitted(metrics, **compiled):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **metrics, **compiled)
    x, y, weights = rng.normal(size=(50, 4)), rng.integers(3, size=50), np.repeat([0.0, 1.0], 25)
    return model, model.fit(x, y, sample_weight=weights, batch_size=8, epochs=2, verbose=0).history


def test_all_are_found():
    assert NAMES == ["auroc", "f1_score", "log_loss", "matthews_correlation"]


@pytest.mark.parametrize("name", NAMES)
def test_fit_in_a_graph_equals_eager(name):
    _, graph = fitted({"metrics": [make(name)], "weighted_metrics": [make(name, name="weighted")]})
    _, eager = fitted({"metrics": [make(name)], "weighted_metrics": [make(name, name="weighted")]}, run_eagerly=True)
    assert len(graph[name]) == 2
    assert graph[name] != graph["weighted"]
    assert set(graph) == set(eager)
    for key in (name, "weighted"):
        np.testing.assert_allclose(graph[key], eager[key], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_early_stopping_knows_the_direction(name):
    model, _ = fitted({"metrics": [make(name)]})
    callback = keras.callbacks.EarlyStopping(f"val_{name}", mode="auto")
    x, y = np.zeros((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    model.fit(x, y, validation_data=(x, y), callbacks=[callback], verbose=0)
    better = keras.ops.less if name == "log_loss" else keras.ops.greater
    assert callback.monitor_op is better


@pytest.mark.parametrize("name", NAMES)
def test_config_makes_an_equal_metric(name):
    metric = make(name, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_keeps_it(name, tmp_path):
    model, _ = fitted({"metrics": [make(name)]})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, y = np.eye(4)[:3], np.array([0, 1, 2])
    expected = model.evaluate(x, y, return_dict=True, verbose=0)[name]
    assert loaded.evaluate(x, y, return_dict=True, verbose=0)[name] == pytest.approx(expected)


def test_two_devices_equal_one():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", UNDER_A_STRATEGY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (one, one_again), (two, two_again) = json.loads(done.stdout.splitlines()[-1])
    assert one == one_again
    assert two == two_again
    for name in NAMES:
        assert two[name] == pytest.approx(one[name], abs=1e-6), name
