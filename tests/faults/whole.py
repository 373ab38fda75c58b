"""Whole files that kerasft reads, each made once: the hostile ones and the mutated ones are made of them."""

import hashlib
import json
import os
import pickle
import shutil
import zipfile

import h5py

from tests import conftest

REVIEWS = [{"text": f"a {word} film", "label": label} for word, label in (("good", "pos"), ("bad", "neg")) * 4]


class Whole:
    """A saved run, a `.keras` and an `.h5` file, and preset folders of KerasHub and of Hugging Face, all tiny.

    Args:
        folder: Path. Where they are written.
    """

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.run, self.keras, self.h5 = folder / "run", folder / "model.keras", folder / "model.h5"
        self.preset, self.hugging_face = folder / "preset", folder / "hugging_face"
        _write_run(self.run)
        _write_models(self.keras, self.h5)
        pretrained = conftest._tiny_gpt2()
        pretrained.backbone.save_to_preset(self.preset)
        pretrained.converter.save_to_preset(self.preset)
        _write_hugging_face(self.hugging_face)

    def entries(self):
        """Returns `{name: bytes}` of the `.keras` file."""
        with zipfile.ZipFile(self.keras) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def config(self):
        """Returns the config in the `.keras` file."""
        return json.loads(self.entries()["config.json"])


def archive(path, entries):
    """Writes a zip archive of `{name or ZipInfo: bytes}`; a name stays as it is, whatever is in it."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo("x")
            if isinstance(name, str):
                info.filename = info.orig_filename = name  # The constructor would cut it at a NUL.
            file.writestr(info, content)
    return path


def copied(source, folder):
    """Returns a copy of a file or folder in `folder`."""
    target = folder / source.name
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return target


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "canary")

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def pickled(name):
    """Returns a maker of a file that holds a pickled `Canary`."""

    def make(whole, folder):
        (folder / name).write_bytes(pickle.dumps(Canary(folder)))
        return folder / name

    return make


def change_json(path, change):
    """Has `change` alter the value in a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def signed(run):
    """Returns a run folder after writing the digests of its files as they are now into its manifest."""
    manifest = json.loads((run / "manifest.json").read_text())
    names = [name for name in manifest["sha256"] if (run / name).is_file()]
    manifest["sha256"] = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def with_legacy_config(path, config):
    """Writes `config`, a dict or a string, as the config of an `.h5` file of a whole model."""
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
    return path


def _write_run(path):
    from kerasft import FineTuner

    tuner = FineTuner("text_classification", conftest._tiny_bert(), {"name": "lora", "rank": 2}, labels=["neg", "pos"])
    tuner.save(path)


def _write_models(keras_path, h5_path):
    import keras

    pixels = keras.Input((32, 32, 3), name="pixels")
    x = keras.layers.Dense(8, name="first", activation="gelu")(pixels)
    x = keras.layers.Dense(4, name="second")(keras.layers.BatchNormalization(name="norm")(x))
    model = keras.Model(pixels, x, name="mine")
    model.save(keras_path)
    model.save(h5_path)


def _write_hugging_face(folder):
    import numpy as np
    import safetensors.numpy

    folder.mkdir()
    config = {
        **{"model_type": "bert", "vocab_size": len(conftest.WORDS), "num_hidden_layers": 1, "hidden_size": 8},
        **{"num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *conftest.WORDS]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    # Enough of them for the size; what they are called is looked at after it.
    safetensors.numpy.save_file(
        {f"w{n}": np.zeros((100, 8), "float32") for n in range(20)}, folder / "model.safetensors"
    )


def listing(folder):
    """Returns every path below a folder."""
    return {os.path.join(root, name) for root, folders, names in os.walk(folder) for name in (*folders, *names)}
