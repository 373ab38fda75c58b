import glob
import io
import json
import os
import shutil
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

import kerasft
from benchmarks.export_parity import fresh_answers
from kerasft.errors import UserError
from kerasft.exporters import saved_model
from kerasft.presets.base import Pretrained

TENSORFLOW = os.path.dirname(tf.__file__)
TEXTS = ["a very good film , i love it !", "The plot is BAD .", "Café, naïve 🙂", "unheard-of words", "the " * 300]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))


def images():
    """JPEG, PNG, a grey PNG, one with transparency, and a grey JPEG, none of the model's size."""
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, shape, "uint8") for shape in ((50, 33, 3), (40, 36, 3), (33, 60), (48, 40, 4))]
    files = []
    for array, kind in zip([*pixels, pixels[2]], ["JPEG", "PNG", "PNG", "PNG", "JPEG"], strict=True):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind)
        files.append(buffer.getvalue())
    return files


# name: (fixture of the backbone, task, task arguments, samples)
CASES = {
    "text": ("tiny_bert", "text_classification", {}, TEXTS),
    "pairs": ("tiny_bert", "text_classification", {"pair": True, "multi_label": True}, PAIRS),
    "decoder": ("tiny_gpt2", "text_classification", {}, TEXTS),
    "image": ("tiny_efficientnet", "image_classification", {}, images()),
}
EXPORTED = {}


def tuner_for(backbone, task="text_classification", samples=None, **arguments):
    tuner = kerasft.FineTuner(task=task, backbone=backbone, labels=["négatif", "positive", "other"], **arguments)
    if samples is not None:
        tuner.samples = tuner.task.frame_of(samples)
    return tuner


@pytest.fixture
def exported(request, tmp_path_factory):
    """Returns a function from the name of a case to its tuner, folder, request arrays and predictions, made once."""

    def get(case):
        if case not in EXPORTED:
            fixture, task, arguments, samples = CASES[case]
            tuner = tuner_for(request.getfixturevalue(fixture), task, samples, **arguments)
            predicted = tuner.predict(samples)
            path = tuner.export(tmp_path_factory.mktemp("saved_models") / "reviews" / "3")
            EXPORTED[case] = tuner, path, tuner.task.request(tuner.samples), predicted
        return EXPORTED[case]

    return get


def assert_same(answers, predicted):
    assert answers.keys() == predicted.keys() == {"label", "score", "scores"}
    assert answers["label"].tolist() == predicted["label"].tolist()
    for name in ("score", "scores"):
        assert answers[name].dtype == predicted[name].dtype == np.float32
        np.testing.assert_allclose(answers[name], predicted[name], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def load_and_run(tmp_path_factory):
    """The C program, which loads a SavedModel with TensorFlow's C++ loader."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    program = tmp_path_factory.mktemp("c") / "load_and_run"
    source = os.path.join(os.path.dirname(__file__), "load_and_run.c")
    libraries = [f"-L{TENSORFLOW}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    flags = [f"-I{TENSORFLOW}/include", *libraries, f"-Wl,-rpath,{TENSORFLOW}"]
    subprocess.run(["gcc", "-Wall", "-Werror", source, "-o", str(program), *flags], check=True)
    return str(program)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in ("decoder", "pairs") else []) for case in CASES]
)
def test_a_c_program_answers_as_predict(exported, load_and_run, tmp_path, case):
    _, path, arrays, predicted = exported(case)
    scores = run_in_c(load_and_run, path, arrays, tmp_path)
    np.testing.assert_allclose(scores, predicted["scores"], rtol=0, atol=1e-5)


def run_in_c(program, path, arrays, folder):
    signature = signature_of(path)
    inputs = []
    for name, values in arrays.items():
        inputs += [signature.inputs[name].name, str(len(values))]
        for row, value in enumerate(values):
            file = folder / f"{name}.{row}"
            file.write_bytes(value.encode() if isinstance(value, str) else value)
            inputs.append(str(file))
    operations = os.path.join(os.path.dirname(TENSORFLOW), "tensorflow_text", "python", "ops", "*.so")
    command = [program, str(path), signature.outputs["scores"].name, operations, *inputs]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    assert done.returncode == 0, done.stderr
    return np.array([line.split() for line in done.stdout.splitlines()], "float32")


@pytest.mark.timeout(900)  # A new TensorFlow loads four models twice: patience on a busy machine.
def test_a_process_without_keras_hub_answers_as_predict(exported):
    made = [exported(case) for case in CASES]
    for (_, _, _, predicted), answers in zip(made, fresh_answers([row[1:3] for row in made]), strict=True):
        assert len(answers) == 2
        for answer in answers.values():
            assert_same(answer, predicted)


def signature_of(path):
    return saved_model_proto(path).meta_graphs[0].signature_def["serving_default"]


def saved_model_proto(path):
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read())


def test_any_number_of_rows(exported):
    tuner, path, arrays, _ = exported("text")
    chosen = np.arange(1000) % len(tuner.samples)
    with saved_model._loaded(str(path)) as answer:
        nothing = answer({"text": arrays["text"][:0]})
        many = answer({"text": arrays["text"][chosen]})
    assert {name: value.shape for name, value in nothing.items()} == {"label": (0,), "score": (0,), "scores": (0, 3)}
    assert_same(many, tuner.predict(tuner.samples["text"].iloc[chosen].tolist()))


def test_each_weight_is_stored_once(tmp_path):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(3000))]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(names),
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        max_sequence_length=64,
    )
    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=names, lowercase=True)
    tuner = tuner_for(Pretrained("bert", backbone, "text", tokenizer))
    folder = str(tmp_path / "1")
    saved_model._save(tuner, folder)
    size = sum(os.path.getsize(name) for name in glob.glob(os.path.join(folder, "variables", "*")))
    weights = 4 * sum(np.prod(weight.shape) for weight in tuner.model.weights)
    assert 2_000_000 < weights <= size < 1.02 * weights
    stored = [shape for _, shape in tf.train.list_variables(os.path.join(folder, "variables", "variables")) if shape]
    assert sorted(map(tuple, stored)) == sorted(tuple(weight.shape) for weight in tuner.model.weights)


def test_only_variables_and_tables_are_tracked(exported):
    for case in CASES:
        nodes = saved_model_proto(exported(case)[1]).meta_graphs[0].object_graph_def.nodes
        assert len([node for node in nodes if node.HasField("variable")]) == len(exported(case)[0].model.weights)
        tables = [node for node in nodes if node.HasField("resource")]
        assert len(tables) == (4 if case == "decoder" else 0)


def test_the_words_of_earlier_texts_are_not_in_it(exported):
    tuner, path, *_ = exported("decoder")
    words = tuner.preprocessor.tokenizer.cache.id2value.export()[1].numpy()
    pieces = b"u n h e a r d"
    assert any(pieces in word for word in words)
    for name in glob.glob(os.path.join(path, "**"), recursive=True):
        if os.path.isfile(name):
            with open(name, "rb") as file:
                assert pieces not in file.read(), name


def test_warm_up_requests_replay(exported):
    for case in ("pairs", "image"):
        tuner, path, arrays, predicted = exported(case)
        records = tf.data.TFRecordDataset(os.path.join(path, "assets.extra", "tf_serving_warmup_requests"))
        logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]
        assert len(logs) == len(tuner.samples) + 1
        with saved_model._loaded(str(path)) as answer:
            for row, log in enumerate(logs):
                request = log.predict_log.request
                assert request.model_spec.name == "reviews"
                assert request.model_spec.signature_name == "serving_default"
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                assert inputs.keys() == arrays.keys()
                rows = slice(row, row + 1) if row < len(tuner.samples) else slice(None)
                assert_same(answer(inputs), {name: values[rows] for name, values in predicted.items()})


def test_it_says_what_it_is(exported):
    _, path, *_ = exported("pairs")
    with open(os.path.join(path, "assets.extra", "kerasft.json"), encoding="utf-8") as file:
        assert json.load(file) == {
            "kerasft": kerasft.__version__,
            "tensorflow": tf.__version__,
            "task": "text_classification",
            "labels": ["négatif", "positive", "other"],
            "signature": "serving_default",
            "inputs": {name: {"dtype": "string", "shape": [None]} for name in ("text", "text_pair")},
            "outputs": {
                "label": {"dtype": "string", "shape": [None]},
                "score": {"dtype": "float32", "shape": [None]},
                "scores": {"dtype": "float32", "shape": [None, 3]},
            },
        }


def test_tensorflows_own_tool_shows_the_signature(exported, monkeypatch, capsys):
    from tensorflow.python.tools import saved_model_cli

    _, path, *_ = exported("pairs")
    arguments = ["show", "--dir", str(path), "--tag_set", "serve", "--signature_def", "serving_default"]
    monkeypatch.setattr(sys, "argv", ["saved_model_cli", *arguments])
    with pytest.raises(SystemExit):
        saved_model_cli.main()
    shown = capsys.readouterr().out
    for line in ("inputs['text'] tensor_info", "inputs['text_pair']", "outputs['label']", "shape: (-1, 3)"):
        assert line in shown
    assert "Method name is: tensorflow/serving/predict" in shown


def test_a_model_that_answers_otherwise_is_not_exported(tiny_bert, tmp_path, monkeypatch):
    tuner = tuner_for(tiny_bert, samples=TEXTS)
    outputs = tuner.outputs

    def tampered(frame):
        made = outputs(frame)
        made[1] += [0.01, 0, 0]
        return made

    monkeypatch.setattr(tuner, "outputs", tampered)
    with pytest.raises(RuntimeError, match=r"1 of 5 rows differ; the first: text='The plot is BAD .'. Output 'score"):
        tuner.export(tmp_path / "models" / "1")
    assert os.listdir(tmp_path / "models") == []


def test_the_gate_loads_as_a_server_does(tiny_bert, tmp_path, monkeypatch):
    """Python's own loader finds nothing wrong with Keras variables in the saved object; servers do."""

    def save_with_keras_variables(module, folder, signatures):
        module.weights, module.model = [], tuner.model
        return save(module, folder, signatures=signatures)

    tuner, save, folder = tuner_for(tiny_bert), tf.saved_model.save, str(tmp_path / "1")
    monkeypatch.setattr(tf.saved_model, "save", save_with_keras_variables)
    saved_model._save(tuner, folder)
    tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(TEXTS))
    with saved_model._loaded(folder) as answer, pytest.raises(tf.errors.FailedPreconditionError):
        answer({"text": np.array(TEXTS, dtype=object)})


def test_python_in_the_graph_is_refused(tiny_bert, tmp_path):
    class Loud(keras.layers.Layer):
        def call(self, texts):
            return preprocessor(tf.ensure_shape(tf.numpy_function(np.char.upper, [texts], tf.string), [None]))

    tuner = tuner_for(tiny_bert)
    preprocessor, tuner.preprocessor = tuner.preprocessor, Loud()
    with pytest.raises(UserError, match=r"calls back into Python .* Received: .*PyFunc"):
        tuner.export(tmp_path / "1")
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_is_refused_before_anything_is_loaded(tmp_path):
    tuner = kerasft.FineTuner(task="text_classification", backbone="no such preset", labels=["a", "b"])
    with pytest.raises(UserError, match="must be a version number"):
        tuner.export(tmp_path / "reviews")
