"""A TensorFlow SavedModel that answers from raw input: TensorFlow Serving, TFX, C++, Java and Go load it.

That of a text task has operations of TensorFlow Text: a Python program does `import tensorflow_text` before
`tf.saved_model.load`, one in C loads the libraries in `tensorflow_text/python/ops/`.
"""

import contextlib
import functools
import json
import os

import tensorflow as tf

from kerasft import __version__, deltas
from kerasft.errors import UserError
from kerasft.exporters import _parity, _warmup, _word_cache
from kerasft.exporters.base import model_name, requests, version_folder


def write(tuner, path):
    """Writes a numbered version folder and checks it against `predict` before it gets its name.

    The signature `serving_default` takes what `tuner.task.signature()` says, any number of rows, and gives what
    `predict` does; preprocessing and label names are part of the graph. Each weight is stored once, in float32.
    `assets.extra/` holds warm-up requests for the server, and `kerasft.json`, which says what the model is.

    Args:
        tuner: FineTuner.
        path: str. Such as `"saved_models/reviews/1"`; must not exist.

    Raises:
        UserError: if `path` is no number or exists, or the model calls back into Python.
        RuntimeError: if an answer differs from that of `predict`. Nothing is left at `path`.
    """
    save(tuner, path)


def save(tuner, path, reading=contextlib.nullcontext):
    """Does what `write` does, with the graph traced within the context that `reading` gives."""
    with version_folder(path) as folder, _without_log():
        function = _save(tuner, folder, reading)
        os.makedirs(os.path.join(folder, "assets.extra"))
        with open(os.path.join(folder, "assets.extra", "kerasft.json"), "w", encoding="utf-8") as file:
            json.dump(_description(tuner, function), file, indent=1, ensure_ascii=False)
        _warmup.write(folder, model_name(path), requests(tuner))
        for name, beginning in {_warmup.SIGNATURE: "", **tuner.task.parts}.items():
            with _loaded(folder, name) as answer:
                _parity.check(tuner, answer, beginning)


def _save(tuner, folder, reading=contextlib.nullcontext):
    """Saves the graph and returns its concrete function.

    Of the Keras objects only raw variables and tables are kept. With Keras variables in the saved object the weights
    would be restored into copies that the graph does not read: Python's loader mends that, C++ loaders and so
    TensorFlow Serving fail at the first request (https://github.com/keras-team/keras/issues/19274).
    """
    task, model, preprocessor = tuner.task, tuner.model, tuner.preprocessor

    def serve(*inputs):
        with reading():
            return task.serve(model, preprocessor, *inputs)

    signature = list(task.signature().values())
    whole = tf.function(serve, signature, autograph=False)

    def serve_part(beginning, *inputs):
        answers = whole(*inputs).items()
        return {name.removeprefix(beginning): value for name, value in answers if name.startswith(beginning)}

    graphs = {n: functools.partial(serve_part, beginning) for n, beginning in task.parts.items()}
    with _word_cache.bounded(preprocessor), deltas.merged(model):
        function = whole.get_concrete_function()
        parts = {name: tf.function(graph, signature, autograph=False) for name, graph in graphs.items()}
        made = {name: part.get_concrete_function() for name, part in parts.items()}
        module = tf.Module(name="model")
        module.weights = list(function.variables)
        module.tables = _tables(preprocessor, function)
        tf.saved_model.save(module, folder, signatures={_warmup.SIGNATURE: function, **made})
    return function


def _tables(preprocessor, function):
    """Returns the lookup tables and tokenizer models, of all that belong to the preprocessor, that the graph reads."""
    read = {id(tensor) for tensor in function.captured_inputs}
    parts = tf.train.TrackableView(preprocessor).descendants()
    tables = [part for part in parts if isinstance(part, tf.saved_model.experimental.TrackableResource)]
    return [table for table in tables if id(table.resource_handle) in read]


def _description(tuner, function):
    outputs = function.structured_outputs
    return {
        "kerasft": __version__,
        "tensorflow": tf.__version__,
        "task": type(tuner.task).__module__.rpartition(".")[2],
        "labels": tuner.task.labels,
        "signature": _warmup.SIGNATURE,
        "inputs": {name: _plain(spec) for name, spec in tuner.task.signature().items()},
        "outputs": {name: _plain(outputs[name]) for name in sorted(outputs)},
    }


def _plain(spec):
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}


@contextlib.contextmanager
def _loaded(folder, name=_warmup.SIGNATURE):
    """Loads the folder as C++ loaders do and gives a signature as a function from input to output arrays, by name.

    `tf.saved_model.load` would not do: it repairs in Python what a server cannot.
    """
    options = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=options)
    with contextlib.closing(session):
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], folder)
        _refuse_python(meta_graph.graph_def)
        signature = meta_graph.signature_def[name]
        fetches = {name: tensor.name for name, tensor in signature.outputs.items()}
        yield lambda arrays: session.run(fetches, {signature.inputs[name].name: arrays[name] for name in arrays})


def _refuse_python(graph):
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    calls = sorted({f"{node.name} ({node.op})" for node in nodes if "PyFunc" in node.op})
    if calls:
        raise UserError(
            "The model calls back into Python (tf.py_function, tf.numpy_function), which no server can do. "
            f"Received: {', '.join(calls)}"
        )


@contextlib.contextmanager
def _without_log():
    """Keeps TensorFlow from recommending, to the user, the loader that does not do here."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
