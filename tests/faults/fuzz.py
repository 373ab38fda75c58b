"""Whole files with something changed, at random but with respect for their structure: is each read rightly or refused?

python -m tests.faults.fuzz --mutations 100000

What is changed is what a parser sees: a value of a JSON or YAML file, an entry of an archive, a dataset of an HDF5
file, a cell of a table; and now and then bytes, wherever they are. Anything but an answer or a UserError within five
seconds is a failure, and so is a file, process or socket.
"""

import argparse
import contextlib
import copy
import faulthandler
import io
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import h5py
import yaml

from tests import conftest  # noqa: F401  (one thread, before TensorFlow is imported)
from tests.faults import hostile, watch, whole

MAX_SECONDS = 5
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**3, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, -0.5, 1e300, 1e-300),
    *("", "x", "a" * 2000, "../x", "/etc/passwd", "C:\\x", "a\0b", "\ud800", "é", "None", "-1", "keras.layers"),
    *([], [[]], [1, 2], {}, {"a": 1}, {"class_name": "Dense", "config": {}}, {"class_name": "Lambda", "config": {}}),
)
REVIEWS = 'text,label\n"a good, film",pos\n"a ""bad"" film",neg\n=1+1,-0.5\n'
RECIPE = (
    "task: text_classification\nbackbone: tiny\nmethod: {name: lora, rank: 2}\nlearning_rate: 1e-3\nlabels: [a, b]\n"
)
PIECES = (
    "\0",
    '"',
    "'",
    ",",
    "\n",
    "\r",
    "\ufeff",
    "\ud800",
    ":",
    "- ",
    "!!python/name:os.system",
    "&a ",
    "*a",
    "[",
    "{",
    "}",
)


def places(value, path=()):
    """Yields the path of every value within JSON, its own first."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def mutated(value, chance):
    """Returns JSON with one place replaced, removed, doubled, renamed or nested."""
    value = copy.deepcopy(value)
    *parents, key = chance.choice(list(places(value))[1:])
    node = value
    for parent in parents:
        node = node[parent]
    how = chance.randrange(5)
    if how == 0:
        del node[key]
    elif how == 1 and isinstance(node, dict):
        node[chance.choice([*node, "class_name", "x", "../x", "name"])] = node.pop(key)
    elif how == 2 and isinstance(node, list):
        node.extend([node[key]] * chance.choice((1, 2, 50)))
    elif how == 3:
        node[key] = [node[key]]
    else:
        node[key] = copy.deepcopy(chance.choice(VALUES))
    return value


def scrambled(content, chance):
    """Returns bytes with a few of them changed, removed or repeated."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if not content:
            return bytes(content)
        start = chance.randrange(len(content))
        length = chance.choice((1, 1, 4, 100))
        how = chance.randrange(4)
        if how == 0:
            content[start : start + length] = chance.randbytes(length)
        elif how == 1:
            del content[start : start + length]
        elif how == 2:
            content[start:start] = content[start : start + length]
        else:
            content[start] ^= 1 << chance.randrange(8)
    return bytes(content)


def json_text(value, chance):
    """Returns mutated JSON as bytes, which one time in eight are scrambled too."""
    text = json.dumps(mutated(value, chance)).encode()
    return scrambled(text, chance) if chance.random() < 0.125 else text


def text_of(text, chance):
    """Returns text with pieces put in that mean something to a parser, as bytes."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        start = chance.randrange(len(text) + 1)
        piece = chance.choice(PIECES) * chance.choice((1, 1, 1, 3, 2000))
        text = text[:start] + piece + text[start + chance.choice((0, 0, 1, 5)) :]
    encoded = text.encode("utf-8", "surrogatepass")
    return scrambled(encoded, chance) if chance.random() < 0.125 else encoded


def manifest(made, folder, chance):
    run = whole.copied(made.run, folder)
    found = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_bytes(json_text(found, chance))
    return run, hostile.load_run


def run_file(made, folder, chance):
    run = whole.copied(made.run, folder)
    name = chance.choice(["history.json", "labels.json", "recipe.yaml", "weights.safetensors"])
    content = (run / name).read_bytes()
    if name.endswith(".json") and len(list(places(json.loads(content)))) > 1:
        content = json_text(json.loads(content), chance)
    else:
        content = text_of(content.decode(), chance) if name.endswith(".yaml") else scrambled(content, chance)
    (run / name).write_bytes(content)
    return whole.signed(run), hostile.load_run


def architecture(made, folder, chance):
    run = whole.copied(made.run, folder)
    path = run / "architecture" / "architecture.json"
    path.write_bytes(json_text(json.loads(path.read_text()), chance))
    return whole.signed(run), hostile.load_run


def keras_config(made, folder, chance):
    entries = made.entries() | {"config.json": json_text(made.config(), chance)}
    return whole.archive(folder / "model.keras", entries), hostile.load_backbone


def keras_archive(made, folder, chance):
    path = folder / "model.keras"
    path.write_bytes(scrambled(made.keras.read_bytes(), chance))
    return path, hostile.load_backbone


def keras_weights(made, folder, chance):
    weights = io.BytesIO(made.entries()["model.weights.h5"])
    content = _h5(weights, chance).getvalue()
    entries = made.entries() | {"model.weights.h5": content}
    return whole.archive(folder / "model.keras", entries), hostile.load_backbone


def h5(made, folder, chance):
    path = whole.copied(made.h5, folder)
    return _h5(path, chance), hostile.load_backbone


def h5_bytes(made, folder, chance):
    path = folder / "model.h5"
    path.write_bytes(scrambled(made.h5.read_bytes(), chance))
    return path, hostile.load_backbone


def h5_config(made, folder, chance):
    config = {"class_name": "Functional", "config": made.config()["config"]}
    text = json_text(config, chance).decode(errors="replace").replace("\0", "")
    return whole.with_legacy_config(whole.copied(made.h5, folder), text), hostile.load_backbone


def preset(made, folder, chance):
    made_preset = whole.copied(made.preset, folder)
    path = made_preset / chance.choice(["config.json", "tokenizer.json"])
    path.write_bytes(json_text(json.loads(path.read_text()), chance))
    return made_preset, hostile.load_backbone


def csv(made, folder, chance):
    (folder / "a.csv").write_bytes(text_of(REVIEWS, chance))
    return folder / "a.csv", hostile.load_data


def json_lines(made, folder, chance):
    rows = [json_text({"text": "a", "label": 1, "more": [1, {"a": 2.5}]}, chance) for _ in range(3)]
    (folder / "a.jsonl").write_bytes(b"\n".join(rows))
    return folder / "a.jsonl", hostile.load_data


def yaml_text(made, folder, chance):
    if chance.random() < 0.5:
        content = text_of(RECIPE, chance)
    else:
        content = yaml.safe_dump(mutated(yaml.safe_load(RECIPE), chance)).encode()
    (folder / "recipe.yaml").write_bytes(content)
    return folder / "recipe.yaml", hostile.read_recipe


def _h5(target, chance):
    """Changes a link, an array or an attribute of an HDF5 file, and returns `target`."""
    # What HDF5 does not do, such as a group within an array, is left undone.
    with contextlib.suppress(ValueError, KeyError, OSError, RuntimeError), h5py.File(target, "a") as file:
        names: list = []
        file.visit(names.append)
        name, how = chance.choice(names), chance.randrange(6)
        if how == 0:
            del file[name]
        elif how == 1:
            file.move(name, f"{name}{chance.choice(['x', '..', '/y', 'é'])}")
        elif how == 2:
            del file[name]
            links = (h5py.SoftLink("/"), h5py.ExternalLink("x.h5", "/"), file["/"])
            file[name] = chance.choice(links)
        elif how == 3:
            file[name].attrs[chance.choice(["weight_names", "layer_names", "name", "x"])] = chance.choice(
                ["a", 7, [b"b"]]
            )
        else:
            del file[name]
            shape = chance.choice([(), (0,), (4,), (8, 4), (10**9,), (2,) * 20])
            dtype = chance.choice(["f4", "f8", "i8", "u1", "S3", "V2", "c8", h5py.string_dtype(), [("a", "f4")]])
            file.create_dataset(
                name, shape, dtype, chunks=chance.choice([None, True]) if shape and 0 not in shape else None
            )
    return target


# The dear ones, which build a model where nothing is wrong, are drawn less often.
KINDS = {
    **{manifest: 8, run_file: 2, architecture: 3, keras_config: 3, keras_archive: 4, keras_weights: 4, h5: 3},
    **{h5_bytes: 4, h5_config: 3, preset: 2, csv: 12, json_lines: 12, yaml_text: 12},
}


def once(made, folder, seed):
    """Makes and opens the file of a seed. Returns its kind, whether it was read, and what is wrong, if it is."""
    from kerasft import UserError

    chance = random.Random(seed)
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    folder.mkdir()
    try:
        path, read = kind(made, folder, chance)
        tempfile.tempdir = str(folder)
        was_read, problem, began = False, "", time.monotonic()
        with watch.watching(folder) as events:
            signal.setitimer(signal.ITIMER_REAL, 4 * MAX_SECONDS)
            # Where no signal reaches, within C, the whole process ends.
            faulthandler.dump_traceback_later(12 * MAX_SECONDS, exit=True, file=sys.__stderr__)
            try:
                read(path)
                was_read = True
            except UserError as error:
                problem = "" if "Received: " in str(error) else f"it says {error}"
            except Exception as error:  # Any but a UserError is what is looked for.
                problem = f"{type(error).__name__}: {error}"
            finally:
                faulthandler.cancel_dump_traceback_later()
                signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.monotonic() - began
        problem = problem or (f"it took {seconds:.1f} s" if seconds > MAX_SECONDS else "")
        return kind.__name__, was_read, problem or (f"it did {events[:3]}" if events else "")
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder)


def run(made, folder, seeds, until=float("inf")):
    """Returns `{kind: [opened, read]}` and `{seed: problem}` of these seeds, or of those that come before `until`.

    Every two hundred files Keras forgets what it knows of their models; it would keep the name of each.
    """
    import keras

    before = signal.signal(signal.SIGALRM, _too_long)
    counts: dict = {kind.__name__: [0, 0] for kind in KINDS}
    problems: dict = {}
    for number, seed in enumerate(seeds):
        if time.monotonic() > until:
            break
        print(f"\rseed {seed}: {number:,} files, {len(problems)} problems", end="", file=sys.stderr, flush=True)
        kind, was_read, problem = once(made, folder / "case", seed)
        counts[kind][0] += 1
        counts[kind][1] += was_read
        if problem:
            problems[seed] = f"{kind}: {problem}"
        if number % 200 == 199:
            keras.utils.clear_session()
    signal.signal(signal.SIGALRM, before)
    return counts, problems


def _too_long(signum, frame):
    raise TimeoutError("it took too long")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others count up from it")
    options = parser.parse_args(arguments)
    memory, began = watch.Memory(), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        made = whole.Whole(folder / "whole")
        hostile.warm_up(made)
        before = memory.restart()
        counts, problems = run(made, folder, range(options.seed, options.seed + options.mutations))
    print(f"{'kind':<16}{'opened':>9}{'read':>9}{'refused':>9}")
    for kind, (opened, was_read) in counts.items():
        print(f"{kind:<16}{opened:>9,}{was_read:>9,}{opened - was_read:>9,}")
    total, grown = sum(opened for opened, _ in counts.values()), memory.peak - before
    print(f"{total:,} in {time.monotonic() - began:,.0f} s, at most {grown:,.0f} MB more; {len(problems)} problems")
    for seed, problem in list(problems.items())[:50]:
        print(f"--seed {seed} --mutations 1: {problem[:300]}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
