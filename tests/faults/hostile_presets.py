"""Preset folders of KerasHub and of Hugging Face, and files of formats that are never read."""

import json
import pickle

from tests.faults.hostile import Case, load_backbone
from tests.faults.whole import Canary, copied, pickled

ENDINGS = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".pb", ".joblib", ".npy", ".npz", ".safetensors")


def cases():
    """Yields the cases."""
    for ending in ENDINGS:
        yield Case(f"format: {ending}", pickled(f"model{ending}"), load_backbone)
    for what, files in FOLDERS.items():
        yield Case(f"folder: {what}", _folder(files), load_backbone)
    for what, (name, value) in PRESET_FILES.items():
        yield Case(f"preset: {what}", _changed("preset", name, value), load_backbone)
    for what, (name, value) in HUGGING_FACE_FILES.items():
        yield Case(f"hugging face: {what}", _changed("hugging_face", name, value), load_backbone)
    yield Case("preset: list of weights that leads out", _shards, load_backbone)
    yield Case("preset: weights that are a device", _device, load_backbone)
    yield Case("preset: whole", lambda whole, folder: copied(whole.preset, folder), load_backbone, is_harmless=True)


FOLDERS = {
    "SavedModel": ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"),
    "SavedModel with a config": ("saved_model.pb", "config.json", "model.safetensors"),
    "pickled weights": ("config.json", "pytorch_model.bin"),
    "pickled checkpoint": ("config.json", "model.ckpt"),
    "nothing": (),
}


def _replaced(**values):
    return lambda found: {**found, **values}


def _in_config(**values):
    return lambda found: {**found, "config": {**found["config"], **values}}


LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None}
PRESET_FILES = {
    "config nested": ("config.json", "[" * 100_000),
    "config of a list": ("config.json", "[]"),
    "tokenizer that is a Lambda": ("tokenizer.json", LAMBDA),
    "tokenizer nested": ("tokenizer.json", "{" * 100_000),
    "tokenizer with a path": ("tokenizer.json", _in_config(vocabulary="/etc/passwd")),
    "tokenizer with a relative path": ("tokenizer.json", _in_config(merges="../merges.txt")),
    "tokenizer of another package": ("tokenizer.json", _replaced(module="os", registered_name=None)),
    "tokenizer that is a model": ("tokenizer.json", {"module": "keras.layers", "class_name": "Dense", "config": {}}),
    "vocabulary nested": ("assets/tokenizer/vocabulary.json", "[" * 100_000),
    "vocabulary with a token twice": ("assets/tokenizer/vocabulary.json", '{"a": 1, "a": 2}'),
    "vocabulary of a list": ("assets/tokenizer/vocabulary.json", "[1]"),
    "config of a policy of another package": ("config.json", _in_config(dtype={"class_name": "X", "module": "os"})),
}
BIG = 10**9
HUGGING_FACE_FILES = {
    "config nested": ("config.json", "[" * 100_000),
    "width of 10^9": ("config.json", _replaced(hidden_size=BIG)),
    "vocabulary of 10^9": ("config.json", _replaced(vocab_size=BIG)),
    "10^9 layers": ("config.json", _replaced(num_hidden_layers=BIG)),
    "1,000 layers": ("config.json", _replaced(num_hidden_layers=1000)),
    "10^9 positions": ("config.json", _replaced(max_position_embeddings=BIG)),
    "width of a string": ("config.json", _replaced(hidden_size="8")),
    "model type of a list": ("config.json", _replaced(model_type=["bert"])),
    "code of its own": ("config.json", _replaced(model_type="x", auto_map={"AutoModel": "evil.Model"})),
    "weights cut": ("model.safetensors", b"\x08\0\0"),
    "weights of none": ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    "list of weights that leads out": ("model.safetensors.index.json", {"weight_map": {"a": "../../etc/passwd"}}),
    "list of weights, absolute": ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}),
    "list of weights of numbers": ("model.safetensors.index.json", {"weight_map": {"a": 7}}),
    "list of weights of a list": ("model.safetensors.index.json", {"weight_map": [1]}),
    "list of weights that lack": ("model.safetensors.index.json", {"weight_map": {"a": "nothing.safetensors"}}),
    "tokenizer nested": ("tokenizer_config.json", "[" * 100_000),
    "tokenizer with a key twice": ("tokenizer_config.json", '{"do_lower_case": true, "do_lower_case": false}'),
}


def _folder(names):
    def make(whole, folder):
        made = folder / "model"
        made.mkdir()
        for name in names:
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_bytes(pickle.dumps(Canary(folder)))
        return made

    return make


def _changed(source, name, value):
    """Returns a maker of a preset with another file: text, bytes, JSON, or a function of the JSON there."""

    def make(whole, folder):
        preset = copied(getattr(whole, source), folder)
        path = preset / name
        content = value(json.loads(path.read_text())) if callable(value) else value
        content = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return preset

    return make


def _shards(whole, folder):
    preset = copied(whole.preset, folder)
    (preset / "model.weights.h5").unlink()
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": {"a": ["../../canary.weights.h5"]}}))
    return preset


def _device(whole, folder):
    preset = copied(whole.preset, folder)
    (preset / "model.weights.h5").unlink()
    (preset / "model.weights.h5").symlink_to("/dev/zero")
    return preset
