"""Compares the answers of an export, loaded by a process of its own, with those of `predict`, row by row.

python -m benchmarks.export_parity saved_models/reviews test.csv --rows 1000
python -m benchmarks.export_parity saved_models/reviews test.csv --rows 1000 --format saved_model_int8

The other process imports TensorFlow and TensorFlow Text and nothing else of what the model was trained with. It loads
the export twice: with `tf.saved_model.load`, and with the session loader, which does what C++ servers do.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

BATCH_SIZE = 32


def main(arguments):
    """Exports the run, asks both and prints the table; the exit code is 1 if a label differs that should not."""
    import kerasft
    from kerasft.data.base import load

    tuner = kerasft.load(arguments.run)
    frame = load(arguments.data)
    frame = frame.sample(min(arguments.rows, len(frame)), random_state=0)
    expected = tuner.predict(frame)
    with tempfile.TemporaryDirectory() as directory:
        path = tuner.export(os.path.join(directory, "1"), format=arguments.format)
        size = sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
        request = tuner.task.request(tuner.task.prepare(frame, with_targets=False))
        (answers,) = fresh_answers([(path, request)])
    print(f"{len(frame):,} rows of {arguments.data}, {arguments.run}, {arguments.format}: {size / 1e6:,.1f} MB\n")
    print(table(expected, answers))
    differs = any((found["label"] != expected["label"]).any() for found in answers.values())
    return int(differs and arguments.format == "saved_model")


def table(expected, answers):
    """Returns a line for each loader: labels that are equal, and the greatest difference between two scores."""
    lines = [f"{'loaded with':24}{'labels equal':>16}{'greatest score difference':>28}"]
    for loader, found in answers.items():
        equal = found["label"] == expected["label"]
        difference = np.abs(found["scores"] - expected["scores"]).max()
        lines.append(f"{loader:24}{f'{equal.sum():,}/{len(equal):,}':>16}{difference:28.2g}")
    return "\n".join(lines)


def fresh_answers(exports):
    """Returns what each SavedModel answers in one new process: a list of `{loader: {output: array}}`.

    Args:
        exports: list of pairs of a folder and a dict of arrays, `(rows, …)`, of numbers, str or bytes, by the names of
            the signature's inputs.
    """
    requests = [
        (os.path.abspath(folder), {name: _written(np.asarray(values)) for name, values in arrays.items()})
        for folder, arrays in exports
    ]
    command = [sys.executable, os.path.abspath(__file__), "--answer"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"The new process failed:\n{done.stderr}")
    return [
        {loader: {name: _array(*value) for name, value in found.items()} for loader, found in answers.items()}
        for answers in json.loads(done.stdout.splitlines()[-1])
    ]


def answer():
    """What the new process does: reads requests from stdin and prints what the models say, by loader."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the tokenizers' operations)

    answers = []
    for folder, encoded in json.load(sys.stdin):
        request = {name: _array(*value) for name, value in encoded.items()}
        loaders = {"tf.saved_model.load": _function, "session, as C++ servers": _session}
        answers.append({name: _in_batches(load(tf, folder), request) for name, load in loaders.items()})
    known = {"keras_hub", "keras_nlp", "kerasft"} & set(sys.modules)
    if known:
        raise RuntimeError(f"This process must not know {sorted(known)}")
    print(json.dumps(answers))


def _function(tf, folder):
    # The signature is an attribute of the loaded object, and does not keep it alive.
    loaded = tf.saved_model.load(folder)
    return lambda arrays: {
        name: value.numpy()
        for name, value in loaded.signatures["serving_default"](
            **{name: tf.constant(values) for name, values in arrays.items()}
        ).items()
    }


def _session(tf, folder):
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signature = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
    fetches = {name: tensor.name for name, tensor in signature.outputs.items()}
    return lambda arrays: session.run(fetches, {signature.inputs[name].name: arrays[name] for name in arrays})


def _in_batches(run, request):
    rows = len(next(iter(request.values())))
    starts = range(0, max(rows, 1), BATCH_SIZE)
    parts = [run({name: values[s : s + BATCH_SIZE] for name, values in request.items()}) for s in starts]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: _written(value) for name, value in whole.items()}


def _written(value):
    """Returns an array as JSON can hold it; `_array` of that is the array."""
    values = [_encoded(item) for item in value.ravel()] if value.dtype == object else value.ravel().tolist()
    return value.dtype.name, value.shape, values


def _array(dtype, shape, values):
    if dtype == "object":
        values = [base64.b64decode(value) for value in values]
    return np.array(values, dtype=dtype).reshape(shape)


def _encoded(value):
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        sys.exit(answer())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder")
    parser.add_argument("data", type=yaml.safe_load, help="a path or {name: source, …}; labels are not needed")
    parser.add_argument("--rows", type=int, default=1000, help="rows to compare, taken at random")
    parser.add_argument("--format", choices=["saved_model", "saved_model_int8"], default="saved_model")
    sys.exit(main(parser.parse_args()))
