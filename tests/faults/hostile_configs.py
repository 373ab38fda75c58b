"""Keras configs in a `.keras` archive, an `.h5` file, a run folder and a preset folder: code, paths, sizes, nesting."""

import copy
import json

from tests.faults.hostile import Case, load_backbone, load_run
from tests.faults.whole import archive, change_json, copied, signed, with_legacy_config

PATHS = {
    **{"absolute": "/etc/passwd", "home": "~/.ssh/id_rsa", "file URL": "file:///etc/passwd", "gs URL": "gs://b/v.txt"},
    **{"http URL": "http://169.254.169.254/latest", "drive": "C:\\v.txt", "UNC": "\\\\server\\share\\v.txt"},
    **{"relative": "../../v.txt", "plain": "v.txt"},
}
CODE = {
    "Lambda": {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "4wEAAAA="}},
    "TFSMLayer": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "canary"}},
    "TorchModuleWrapper": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "x"}},
    "JaxLayer": {"module": "keras.layers", "class_name": "JaxLayer", "config": {"call_fn": "x"}},
    "FlaxLayer": {"module": "keras.layers", "class_name": "FlaxLayer", "config": {"module": "x"}},
    "a lambda": {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
    "a type": {"class_name": "__typespec__", "spec_name": "x", "config": []},
    "a process": {"module": "subprocess", "class_name": "Popen", "config": {"args": "touch canary"}},
    "os.system": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    "builtins.eval": {"module": "builtins", "class_name": "eval", "config": {}},
    "a function of os": {"module": "os", "class_name": "function", "config": "system"},
    "get_file": {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://127.0.0.1:9/x"}},
    "unsafe": {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"},
    "load_model": {"module": "keras.models", "class_name": "load_model", "config": {"filepath": "canary"}},
    "load_model of saving": {"module": "keras.saving", "class_name": "load_model", "config": {"filepath": "canary"}},
    "a function that loads": {"module": "keras.models", "class_name": "function", "config": "clone_model"},
    "a function that downloads": {"module": "keras.applications", "class_name": "function", "config": "ResNet50"},
    "a hidden module": {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
    "another package": {"module": "tensorflow.python.x", "class_name": "X", "config": {}},
    "a registered name": {"module": None, "class_name": "Mine", "config": {}, "registered_name": "Custom>Mine"},
    "a name of kerasft's": {"module": "kerasft.cli", "class_name": "app", "config": {}},
    "a class in a number": {"module": "keras.layers", "class_name": 7, "config": {}},
    "a module in a list": {"module": ["keras"], "class_name": "Dense", "config": {}},
    "a task of KerasHub": {"module": "keras_hub.models", "class_name": "Task", "config": {"preset": "hf://a/b"}},
}
NAMES = {"parent": "../canary", "absolute": "/canary", "backslash": "a\\b", "NUL": "a\0b", "long": "n" * 10**6}


def cases():
    """Yields the cases."""
    for what, code in CODE.items():
        yield Case(f"config: {what}", _keras(_replaced(code)), load_backbone)
    for what in ("Lambda", "TFSMLayer", "a lambda", "a process", "a registered name"):
        yield Case(f"h5 config: {what}", _legacy(_replaced(CODE[what])), load_backbone)
        yield Case(f"architecture: {what}", _architecture(_replaced(CODE[what])), load_run)
        yield Case(f"preset: {what}", _preset(_replaced(CODE[what])), load_backbone)
        yield Case(f"config: {what} as an activation", _keras(_set("activation", CODE[what])), load_backbone)
    for what, path in PATHS.items():
        yield Case(f"config: vocabulary, {what}", _keras(_replaced(_lookup(path))), load_backbone)
        yield Case(f"architecture: vocabulary, {what}", _architecture(_set("vocabulary", path), "converter"), load_run)
    for what, name in NAMES.items():
        yield Case(f"config: name, {what}", _keras(_set("name", name)), load_backbone)
        yield Case(f"h5 config: name, {what}", _legacy(_set("name", name)), load_backbone)
    for what, change in SIZES.items():
        yield Case(f"config: {what}", _keras(change), load_backbone)
        yield Case(f"h5 config: {what}", _legacy(change), load_backbone)
    for key in ("vocabulary_size", "hidden_dim", "intermediate_dim", "num_layers", "max_sequence_length"):
        yield Case(f"architecture: {key} of 10^9", _architecture(_top(key, 10**9)), load_run)
        yield Case(f"preset: {key} of 10^9", _preset(_top(key, 10**9)), load_backbone)
    for what, text in TEXTS.items():
        yield Case(f"config: {what}", _text(text), load_backbone)
        yield Case(f"h5 config: {what}", _legacy_text(text), load_backbone)
        yield Case(f"architecture: {what}", _architecture_text(text), load_run)


def _replaced(layer):
    """Returns a change that puts a layer in the place of the last one, or of the whole config if it has no layers."""

    def change(config):
        layers = config["config"].get("layers")
        if not layers:
            config.clear()
            config.update(layer)
            return
        layers[-1] = {**layer, "name": "second", "inbound_nodes": layers[-1]["inbound_nodes"]}

    return change


def _set(key, value):
    """Returns a change of an argument of the last layer, or of the whole."""

    def change(config):
        layers = config["config"].get("layers")
        (layers[-1] if layers else config)["config"][key] = value

    return change


def _top(key, value):
    def change(config):
        config["config"][key] = value

    return change


def _layer(class_name, **config):
    return _replaced({"module": "keras.layers", "class_name": class_name, "config": {"name": "second", **config}})


def _lookup(path):
    return {"module": "keras.layers", "class_name": "StringLookup", "config": {"name": "second", "vocabulary": path}}


def _many_layers(config):
    layers = config["config"]["layers"]
    layers += [{**copy.copy(layers[-1]), "name": f"d{n}"} for n in range(20_000)]


SIZES = {
    "Dense of 10^9": _set("units", 10**9),
    "Dense of 10^30": _set("units", 10**30),
    "Dense of -1": _set("units", -1),
    "Dense of a list": _set("units", [8, 8]),
    "convolution of 10^9": _layer("Conv2D", filters=10**9, kernel_size=[3, 3]),
    "kernel of 10^6": _layer("Conv2D", filters=4, kernel_size=[10**6, 10**6], padding="same"),
    "embedding of 10^9": _layer("Embedding", input_dim=10**9, output_dim=1000),
    "attention of 10^6": _layer("MultiHeadAttention", num_heads=10**6, key_dim=10**6),
    "20,000 layers": _many_layers,
}
TEXTS = {
    "nested 100,000 deep": "[" * 100_000,
    "nested 101 deep": '{"a":' * 101 + "1" + "}" * 101,
    "a key twice": '{"class_name": "Functional", "class_name": "Lambda", "config": {}}',
    "NaN": '{"class_name": "Functional", "config": {"a": NaN}}',
    "Infinity": '{"class_name": "Functional", "config": {"a": Infinity}}',
    "10^6 digits": '{"class_name": "Functional", "config": {"a": ' + "9" * 10**6 + "}}",
    "1e999": '{"class_name": "Functional", "config": {"a": 1e999}}',
    "a list": "[1, 2]",
    "a string": '"Functional"',
    "nothing": "",
    "an empty object": "{}",
    "no config": '{"class_name": "Functional"}',
    "a config in a string": '{"class_name": "Functional", "config": "x", "module": "keras"}',
}


def _keras(change):
    def make(whole, folder):
        config = whole.config()
        change(config)
        return archive(folder / "model.keras", {**whole.entries(), "config.json": json.dumps(config).encode()})

    return make


def _text(text):
    return lambda whole, folder: archive(folder / "model.keras", {**whole.entries(), "config.json": text.encode()})


def _legacy(change):
    def make(whole, folder):
        config = whole.config()
        config = {"class_name": "Functional", "config": config["config"]}
        change(config)
        return with_legacy_config(copied(whole.h5, folder), config)

    return make


def _legacy_text(text):
    return lambda whole, folder: with_legacy_config(copied(whole.h5, folder), text)


def _architecture(change, part="backbone"):
    def make(whole, folder):
        run = copied(whole.run, folder)
        change_json(run / "architecture" / "architecture.json", lambda description: change(description[part]))
        return signed(run)

    return make


def _architecture_text(text):
    def make(whole, folder):
        run = copied(whole.run, folder)
        (run / "architecture" / "architecture.json").write_text(text)
        return signed(run)

    return make


def _preset(change):
    def make(whole, folder):
        preset = copied(whole.preset, folder)
        change_json(preset / "config.json", change)
        return preset

    return make
