"""Run folders: manifests that lead out or are of other types, weights and recipes that ask for more."""

import hashlib
import json
import os
import struct

import numpy as np

from tests.faults.hostile import Case, load_run
from tests.faults.whole import change_json, copied, signed

OUTSIDE = {
    **{"parent": "../canary", "parent within": "a/../../canary", "absolute": "/etc/passwd", "backslash": "..\\canary"},
    **{"drive": "C:/canary", "UNC": "//server/x", "NUL": "a\0b", "dot": "./recipe.yaml", "empty": ""},
}


def cases():
    """Yields the cases."""
    for what, name in OUTSIDE.items():
        yield Case(f"manifest: {what}", _manifest(_named(name)), load_run)
    for what, change in MANIFESTS.items():
        yield Case(f"manifest: {what}", _manifest(change), load_run)
    for what, text in TEXTS.items():
        yield Case(f"manifest: {what}", _written("manifest.json", text, is_signed=False), load_run)
        yield Case(f"history: {what}", _written("history.json", text), load_run)
    for what, (name, content) in FILES.items():
        yield Case(f"run: {what}", _written(name, content), load_run)
    for what, change in TREES.items():
        yield Case(f"run: {what}", _tree(change), load_run)
    for what, lines in RECIPES.items():
        yield Case(f"run: {what}", _recipe(lines), load_run)
    yield Case("run: whole", lambda whole, folder: copied(whole.run, folder), load_run, is_harmless=True)
    nan = '{"loss": [NaN, Infinity]}'
    yield Case("history: a loss that diverged", _written("history.json", nan), load_run, is_harmless=True)


def _named(name):
    def change(manifest):
        manifest["sha256"][name] = hashlib.sha256(b"").hexdigest()

    return change


def _set(key, value):
    return lambda manifest: manifest.update({key: value})


def _digest(value):
    return lambda manifest: manifest["sha256"].update({"recipe.yaml": value})


def _lacking(name):
    return lambda manifest: manifest["sha256"].pop(name)


MANIFESTS = {
    "format of another kind": _set("format", 2),
    "format in a string": _set("format", "1"),
    "is_delta in a string": _set("is_delta", "no"),
    "is_delta, which it is not": _set("is_delta", True),
    "base of a number": _set("base", 7),
    "facts of a list": _set("facts", []),
    "sha256 of a list": _set("sha256", []),
    "sha256 of nothing": _set("sha256", {}),
    "digest of a number": _digest(7),
    "digest too short": _digest("abc"),
    "digest of another file": _digest("0" * 64),
    "no weights": _lacking("weights.safetensors"),
    "no recipe": _lacking("recipe.yaml"),
    "no architecture": _lacking("architecture/architecture.json"),
}
TEXTS = {
    "nested 100,000 deep": "[" * 100_000,
    "a key twice": '{"format": 1, "format": 1}',
    "a list": "[]",
    "nothing": "",
    "10^6 digits": '{"format": ' + "1" * 10**6 + "}",
    "no UTF-8": b'{"format": "\xff"}',
    "70 MB": " " * 70_000_000 + "{}",
}
HEADER = json.dumps({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
FILES = {
    "weights cut": ("weights.safetensors", b"\x08"),
    "weights with a header of 2^60": ("weights.safetensors", struct.pack("<Q", 2**60) + b"{}"),
    "weights with a tensor of 4 TB": ("weights.safetensors", struct.pack("<Q", len(HEADER)) + HEADER),
    "weights with a nested header": ("weights.safetensors", struct.pack("<Q", 100_000) + b"[" * 100_000),
    "weights that are a pickle": ("weights.safetensors", b"cos\nsystem\n(S'touch canary'\ntR."),
    "labels nested": ("labels.json", "[" * 100_000),
    "labels with a key twice": ("labels.json", '{"a": 1, "a": 2}'),
    "history of numbers": ("history.json", '{"loss": 1}'),
    "recipe with a tag": ("recipe.yaml", "!!python/object/apply:os.system [touch canary]"),
    "recipe with an alias bomb": ("recipe.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
    "recipe nested": ("recipe.yaml", "[" * 20_000),
    "recipe of a list": ("recipe.yaml", "[1, 2]"),
    "recipe of 2 MB": ("recipe.yaml", "a: b\n" * 400_000),
    "vocabulary nested": ("architecture/assets/vocabulary.json", "[" * 100_000),
}


def _arrays(change):
    """Returns a change of the weights in a run folder."""

    def tree(run):
        import safetensors.numpy

        path = run / "weights.safetensors"
        arrays = safetensors.numpy.load_file(path)
        safetensors.numpy.save_file(change(arrays), path)

    return tree


def _link(name, to):
    def tree(run):
        (run / name).unlink()
        (run / name).symlink_to(to)

    return tree


def _link_within(run):
    (run / "recipe.yaml").rename(run / "elsewhere.yaml")
    (run / "recipe.yaml").symlink_to(run / "elsewhere.yaml")


def _link_of_folder(run):
    (run / "architecture").rename(run.parent / "outside")
    (run / "architecture").symlink_to(run.parent / "outside")


def _link_of_assets(run):
    assets = run / "architecture" / "assets"
    assets.rename(run.parent / "outside")
    assets.symlink_to(run.parent / "outside")

    def unnamed(manifest):
        manifest["sha256"] = {name: d for name, d in manifest["sha256"].items() if "/assets/" not in name}

    change_json(run / "manifest.json", unnamed)


def _pipe(run):
    (run / "weights.safetensors").unlink()
    os.mkfifo(run / "weights.safetensors")


def _sample(run):
    _add(run, "samples/text.evil", b"x")


def _sample_bytes(run):
    _add(run, "samples/text.0", b"\xff\xfe")


def _add(run, name, content):
    """Puts a file into a run folder, and its name into the manifest, for `signed` to fill in the digest."""
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(content)
    change_json(run / "manifest.json", lambda manifest: manifest["sha256"].update({name: ""}))


def _unlisted(name, to=None):
    """Returns a change that puts a file, or a link to another, where a run is read, and not in its manifest."""

    def tree(run):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(to) if to else (run / name).write_text("x")

    return tree


def _description(**values):
    def tree(run):
        change_json(run / "architecture" / "architecture.json", lambda description: description.update(values))

    return tree


TREES = {
    "weights that lack": _arrays(lambda arrays: dict(list(arrays.items())[1:])),
    "weights of none": _arrays(lambda arrays: {"x": np.zeros(2)}),
    "weights of other shapes": _arrays(lambda arrays: {name: np.zeros(3, "f4") for name in arrays}),
    "weights under a long name": _arrays(lambda arrays: {**arrays, "n" * 5000: np.zeros(2)}),
    "recipe that is a link": _link("recipe.yaml", "/etc/passwd"),
    "weights that are a link": _link("weights.safetensors", "/dev/zero"),
    "manifest that is a link to a device": _link("manifest.json", "/dev/zero"),
    "recipe that is a link within": _link_within,
    "architecture that is a link": _link_of_folder,
    "assets that are a link and not named": _link_of_assets,
    "weights that are a pipe": _pipe,
    "sample of an odd name": _sample,
    "sample that is no text": _sample_bytes,
    "sample that is a link": _unlisted("samples/text.0", "/etc/passwd"),
    "sample that is not named": _unlisted("samples/text.0"),
    "vocabulary that is not named": _unlisted("architecture/assets/vocabulary.json"),
    "vocabulary that is a link": _unlisted("architecture/assets/vocabulary.txt", "/etc/passwd"),
    "modality of another kind": _description(modality="sound"),
    "modality that is not so": _description(modality="image"),
    "causal of a string": _description(causal="no"),
    "name of a list": _description(name=["x"]),
    "backbone of a string": _description(backbone="bert"),
    "converter of another kind": _description(
        converter={"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}
    ),
}
TASK = "task: text_classification\nbackbone: tiny\n"
LABELS = "labels: [neg, pos]\n"
RECIPES = {
    "rank of 10^9": TASK + LABELS + "method: {name: lora, rank: 1000000000}",
    "prompt of 10^9": TASK + LABELS + "method: {name: prompt_tuning, length: 1000000000}",
    "prefix of 10^9": TASK + LABELS + "method: {name: prefix_tuning, length: 1000000000}",
    "adapter of 10^9": TASK + LABELS + "method: {name: adapter, width: 1000000000}",
    "stages of rank 10^9": TASK + LABELS + "method: {name: stages, stages: [{method: {name: lora, rank: 1000000000}}]}",
    "20,000 labels": TASK + "labels: [" + ", ".join(f"l{n}" for n in range(20_000)) + "]\nmethod: full",
    "labels of a number": TASK + "labels: 1000000000\nmethod: full",
    "a method that leads out": TASK + LABELS + "method: ../../canary",
    "an optimizer of another package": TASK + LABELS + "method: full\noptimizer: {name: os.system}",
    "an unknown argument": TASK + LABELS + "method: full\ncanary: 1",
    "a number as a key": TASK + LABELS + "method: full\n7: 1",
    "nothing of a task": LABELS,
}


def _manifest(change):
    def make(whole, folder):
        run = copied(whole.run, folder)
        change_json(run / "manifest.json", change)
        return run

    return make


def _written(name, content, is_signed=True):
    def make(whole, folder):
        run = copied(whole.run, folder)
        encoded = content.encode() if isinstance(content, str) else content
        _add(run, name, encoded) if is_signed else (run / name).write_bytes(encoded)
        return signed(run) if is_signed else run

    return make


def _tree(change):
    def make(whole, folder):
        run = copied(whole.run, folder)
        change(run)
        regular = (run / "manifest.json").is_file() and not (run / "weights.safetensors").is_symlink()
        return signed(run) if regular and not (run / "manifest.json").is_symlink() else run

    return make


def _recipe(text):
    def make(whole, folder):
        run = copied(whole.run, folder)
        (run / "recipe.yaml").write_text(text)
        return signed(run)

    return make
