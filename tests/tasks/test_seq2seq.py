import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline.clean import DataWarning
from kerasft.tasks.seq2seq import Seq2seq
from tests import families

OTHERS = {"good": "bad", "bad": "good", "warm": "dull", "dull": "warm"}
ROWS = [{"text": f"{i} the {word} film", "target": other} for i in "aso" for word, other in OTHERS.items()]
SMALL = {"max_new_tokens": 20, "sequence_length": 64, "learning_rate": 1e-2, "precision": "float32"}


@pytest.fixture(scope="module", params=families.quick_ones(families.ENCODER_DECODERS, "bart"))
def trained(request, tmp_path_factory):
    tuner = FineTuner("seq2seq", families.make(request.param), prefix="see : ", **SMALL)
    folder = tmp_path_factory.mktemp(request.param) / "run"
    tuner.fit(ROWS, epochs={"bart": 150, "t5": 60}[request.param], batch_size=4, directory=folder)
    return tuner


def test_it_learns_to_write(trained):
    found = trained.evaluate(ROWS)
    answers = trained.predict([row["text"] for row in ROWS])["target"]
    is_right = [answer == row["target"] for answer, row in zip(answers, ROWS, strict=True)]
    assert np.mean(is_right) > 0.7 and found["chrf"].value > 70
    assert found["exact"].value == pytest.approx(np.mean(is_right))  # Known without generating.


def test_answers_do_not_depend_on_what_else_is_asked(trained):
    texts = [row["text"] for row in ROWS[:5]] + ["the film " * 40]
    together = trained.predict(texts)["target"]
    assert [trained.predict([text])["target"][0] for text in texts] == together.tolist()


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    texts = [row["text"] for row in ROWS[:3]]
    expected = trained.predict(texts)["target"].tolist()
    loaded = kerasft.load(trained.directory)
    assert loaded.predict(texts)["target"].tolist() == expected
    folder = loaded.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(texts))
    assert [answer.decode() for answer in served["target"].numpy()] == expected


def test_the_report_shows_chrf_and_what_is_farthest(trained):
    trained.evaluate(ROWS[:4])
    page = Path(trained.directory, "report.html").read_text()
    assert "chrF of" in page and "Farthest from right" in page and "the dull film" in page
    assert {"bleu", "chrf", "rouge_l", "perplexity"} <= json.loads(Path(trained.directory, "metrics.json").read_text())[
        "metrics"
    ].keys()


@pytest.mark.parametrize("name", families.ENCODER_DECODERS)
def test_the_loss_is_that_of_kerashub(name):
    import keras_hub

    pretrained = families.make(name)
    tuner = FineTuner("seq2seq", pretrained, **SMALL)
    frame = tuner.task.prepare(data_sources.load(ROWS))
    examples, rows = tuner.task.examples(frame, tuner.preprocessor), np.arange(len(ROWS))
    kind = {"bart": keras_hub.models.BartSeq2SeqLM, "t5": keras_hub.models.T5Seq2SeqLM}[name]
    logits = kind(pretrained.backbone)(examples.gather(rows, 64))
    targets, weights = examples.gather_targets(rows, 64)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(np.maximum(targets, 0), logits) * weights
    scores = tuner.outputs(frame)
    np.testing.assert_allclose(scores[:, 0], tf.reduce_sum(losses, 1), rtol=1e-4)
    np.testing.assert_array_equal(scores[:, 2], weights.sum(1))


@pytest.mark.parametrize("sampler", [{"name": "beam", "num_beams": 2}, {"name": "top_k", "k": 2, "seed": 1}])
def test_other_samplers(sampler):
    tuner = FineTuner("seq2seq", families.make("t5"), sampler=sampler, **SMALL)
    assert tuner.predict(["a good film", "weak"])["target"].shape == (2,)


@pytest.mark.slow
def test_half_precision_and_other_objectives(tmp_path):
    arguments = {**SMALL, "precision": "mixed_bfloat16"}
    tuner = FineTuner("seq2seq", families.make("bart"), "lora", objectives=["sam"], **arguments)
    fitted = tuner.fit(ROWS[4:], validation_data=ROWS[:4], epochs=2, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(fitted.history["loss"]).all()


def test_long_targets_are_cut_with_a_warning():
    tuner = FineTuner("seq2seq", families.make("t5"), **{**SMALL, "max_new_tokens": 4})
    frame = tuner.task.prepare(data_sources.load([{"text": "a", "target": "so warm , so witty"}, *ROWS]))
    with pytest.warns(DataWarning, match="1 of 13 targets lose their end: they are longer than max_new_tokens=4"):
        tuner.task.examples(frame, tuner.preprocessor)


def test_it_refuses_other_backbones():
    with pytest.raises(UserError, match="KerasHub cannot generate with this backbone. Received: backbone='tiny_gpt2'"):
        FineTuner("seq2seq", families.make("gpt2")).predict(["a"])


def test_more_tokens_than_there_are_positions_are_refused():
    with pytest.raises(UserError, match="tiny_bart writes 96 tokens at most. Received: max_new_tokens=95"):
        FineTuner("seq2seq", families.make("bart"), max_new_tokens=95).predict(["a"])
    FineTuner("seq2seq", families.make("bart"), max_new_tokens=94).predict(["a"])


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_nothing_is_put_in_front_of_both(method):
    with pytest.raises(UserError, match=f"{method} needs an encoder or a decoder alone"):
        FineTuner("seq2seq", families.make("t5"), method, **SMALL).predict(["a"])


def test_a_table_with_targets_under_other_names_is_predicted_on():
    tuner = FineTuner("seq2seq", families.make("t5"), columns={"text": "en", "target": "de"}, **SMALL)
    rows = data_sources.load([{"en": "a film", "de": "ein Film"}])
    assert tuner.predict(rows)["target"].shape == (1,)
    assert tuner.task.prepare(rows).columns.tolist() == ["text", "target"]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"text": "a", "target": " "}, "row 1: target is blank"),
        ({"text": "a", "target": None}, "row 1: target is missing"),
        ({"text": "", "target": "a"}, "row 1: text is empty"),
    ],
)
def test_bad_rows_are_named(row, part):
    with pytest.raises(UserError, match=part):
        Seq2seq().prepare(data_sources.load([row]))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number, 1 or more. Received: 0"),
        ({"prefix": 3}, "prefix must be a text. Received: prefix=3"),
        ({"sampler": "best"}, "sampler must be one of"),
        ({"sequence_length": 2}, "sequence_length must be a whole number, 8 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        Seq2seq(**arguments)
