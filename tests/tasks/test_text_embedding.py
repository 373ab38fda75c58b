import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import batching
from kerasft.tasks.text_embedding import TextEmbedding
from kerasft.training import tables

PAIRS = {"good": "great", "bad": "awful", "slow": "boring", "warm": "moving", "funny": "witty", "weak": "flat"}
TEMPLATES = ("a {} film", "the plot was {} .", "so {} !", "I found this story {}")
ROWS = [
    {"text": first.format(a), "text_pair": second.format(b)}
    for a, b in PAIRS.items()
    for first in TEMPLATES
    for second in TEMPLATES[:2]
]
SCORED = [
    {"text": f"a {a} film", "text_pair": f"the plot was {b} .", "value": 5.0 if a == b else 1.0}
    for a in PAIRS
    for b in PAIRS
]


def test_it_learns_which_texts_belong_together(make_tiny, tmp_path):
    tuner = FineTuner("text_embedding", make_tiny("bert"), learning_rate=1e-2, sizes=[4])
    before = tuner.evaluate(ROWS)["mrr"].value
    held = [{**row, "text": f"{row['text']} ?"} for row in ROWS[::3]]
    history = tuner.fit(ROWS, validation_data=held, epochs=6, batch_size=12, directory=tmp_path / "run").history
    assert history["val_loss"][-1] < history["val_loss"][0]
    found = tuner.evaluate(ROWS)
    assert found["mrr"].value > before + 0.1 and {"mrr/4", "recall@1", "recall@10", "ndcg"} <= set(found)
    texts = ["a good film", "so bad !", ""]
    vectors = tuner.predict(texts[:2])["embedding"]
    assert vectors.shape == (2, 16) and vectors.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(kerasft.load(tmp_path / "run").predict(texts[:2])["embedding"], vectors, atol=1e-6)
    folder = tuner.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(texts))
    np.testing.assert_allclose(served["embedding"][:2], vectors, atol=1e-5)


def test_it_learns_how_alike_texts_are(make_tiny, tmp_path):
    tuner = FineTuner("text_embedding", make_tiny("bert"), learning_rate=1e-2)
    tuner.fit(SCORED, validation_split=0.2, epochs=6, batch_size=12, directory=tmp_path / "run")
    assert (tuner.task.low, tuner.task.high) == (1.0, 5.0)
    found = tuner.evaluate(SCORED)
    assert found["spearman"].value > 0.1
    assert kerasft.load(tmp_path / "run").recipe["high"] == 5.0


def test_a_batch_has_all_texts_then_all_partners(make_tiny):
    tuner = FineTuner("text_embedding", make_tiny("bert"))
    rows = [{**row, "negative": "a film"} for row in ROWS[:3]]
    frame = tuner.task.prepare(data_sources.load(rows))
    examples = tuner.task.examples(frame, tuner.preprocessor)
    (inputs, targets), *_ = batching.dataset(examples, lambda: [np.arange(3)])
    assert inputs["token_ids"].shape[0] == 9 and targets.shape == (3, 2)
    given = [row[name] for name in ("text", "text_pair", "negative") for row in rows]
    expected = tuner.preprocessor(tf.constant(given))
    np.testing.assert_array_equal(inputs["token_ids"][:, : expected["token_ids"].shape[1]], expected["token_ids"])


def test_outputs_are_in_the_order_of_the_rows(make_tiny):
    tuner = FineTuner("text_embedding", make_tiny("bert"))
    frame = tuner.task.prepare(data_sources.load(ROWS))
    outputs = tuner.outputs(frame, batch_size=5)
    assert outputs.shape == (len(ROWS), 2, 16)
    alone = tuner.predict([ROWS[7]["text_pair"]])["embedding"]
    np.testing.assert_allclose(outputs[7, 1], alone[0], atol=1e-5)


def test_equal_partners_have_equal_targets():
    task = TextEmbedding()
    frame = task.prepare(
        data_sources.load([{"text": t, "text_pair": p} for t, p in (("a", "x"), ("b", "y"), ("c", "x"))])
    )
    assert task.targets(frame)[:, 0].tolist() == [0, 1, 0] and task.learned == {}


def test_a_negative_that_is_a_partner_has_its_number():
    rows = [{"text": t, "text_pair": p, "negative": n} for t, p, n in (("a", "x", "y"), ("b", "y", "x"))]
    task = TextEmbedding()
    assert task.targets(task.prepare(data_sources.load(rows))).tolist() == [[0, 1], [1, 0]]


def test_only_training_data_say_what_is_learned():
    task, other = TextEmbedding(), [{**row, "value": row["value"] * 2} for row in SCORED]
    tables.read(task, 0, ROWS)
    assert task.targets(task.prepare(data_sources.load(other))).max() == 1 and task.low is None
    assert type(task.loss()).__name__ == "InfoNce"
    tables.read(task, 0, SCORED, [{**row, "text": f"{row['text']} ?"} for row in other])
    assert (task.low, task.high) == (1.0, 5.0) and type(task.loss()).__name__ == "CosineError"
    with pytest.raises(UserError, match="must both have 'value', or neither. Received: data with text, text_pair; val"):
        tables.read(TextEmbedding(), 0, ROWS, SCORED)


@pytest.mark.parametrize("objective", ["mixup", "r_drop", {"name": "distillation", "teacher": "x"}])
def test_objectives_on_classes_are_refused(objective):
    with pytest.raises(UserError, match="Received: task=TextEmbedding"):
        FineTuner("text_embedding", "bert_tiny_en_uncased", objectives=[objective])


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"text": "a", "text_pair": ""}, "row 1: text_pair is empty"),
        ({"text": "a"}, "has no column 'text_pair'"),
        ({"text": "a", "text_pair": "b", "negative": None}, "row 1: negative is missing"),
        ({"text": "a", "text_pair": "b", "value": "x"}, "row 1: value is not a number"),
        ({"text": "a", "text_pair": "b", "value": 1}, "every value is the same"),
    ],
)
def test_unusable_rows_are_refused(row, part):
    with pytest.raises(UserError, match=part):
        tables.read(TextEmbedding(), 0, [row])


@pytest.mark.parametrize(
    "arguments",
    [
        {"low": 1.0},
        {"low": 2.0, "high": 1.0},
        {"temperature": 0},
        {"sizes": []},
        {"sizes": [0]},
        {"sizes": 64},
        {"pair": True},
    ],
)
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(UserError, match="Received:"):
        TextEmbedding(**arguments)
