import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.evaluation import spans
from kerasft.fine_tuner import FineTuner
from kerasft.tasks._head import chain
from kerasft.tasks.token_classification import TokenClassification

NAMES = ["good", "great", "funny", "bad", "dull"]
ROWS = [
    {"tokens": ["the", name, "film", "was", "so", other, "."], "tags": ["O", "B-X", "I-X", "O", "O", "B-Y", "O"]}
    for name in NAMES
    for other in ("slow", "cold", "weak", "warm")
]
OTHERS = [{**row, "tokens": ["so", *row["tokens"][1:]]} for row in ROWS[::2]]
LABELS = ["O", "B-X", "B-Y", "I-X"]


@pytest.fixture(scope="module")
def trained(make_tiny, tmp_path_factory):
    tuner = FineTuner("token_classification", make_tiny("bert"), labels=LABELS, learning_rate=1e-2)
    tuner.fit(
        ROWS, validation_data=OTHERS, epochs=12, batch_size=8, directory=tmp_path_factory.mktemp("trained") / "run"
    )
    return tuner


def prepared(rows, **arguments):
    task = TokenClassification(**arguments)
    return task, task.prepare(data_sources.load(rows))


def test_it_finds_spans_and_says_where_they_are(trained):
    text = "the great  film was so cold."
    (entities,) = trained.predict(text)["entities"]
    assert [(e["label"], e["text"]) for e in entities] == [("X", "great  film"), ("Y", "cold")]
    assert [text[e["start"] : e["end"]] for e in entities] == ["great  film", "cold"]
    assert all(0.3 < e["score"] <= 1 for e in entities)
    assert trained.predict([["the", "great", "film"]])["entities"][0][0]["text"] == "great film"
    found = trained.evaluate(ROWS)
    assert found["f1"].value == 1 and found["word_accuracy"].value == 1
    assert trained.history["val_f1"][-1] == 1


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    texts = ["the great film was so cold .", "the", ""]
    loaded = kerasft.load(trained.directory)
    assert loaded.task.labels == LABELS
    assert loaded.predict(texts[:2])["entities"].tolist() == trained.predict(texts[:2])["entities"].tolist()
    folder = trained.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(texts))
    assert served["label"].numpy().tolist() == [[b"X", b"Y"], [b"", b""], [b"", b""]]
    assert served["text"].numpy()[0].tolist() == [b"great film", b"cold"]
    assert served["start"].numpy().tolist() == [[4, 22], [-1, -1], [-1, -1]]
    assert served["end"].numpy()[0].tolist() == [14, 26]


def test_the_report_shows_types_and_mistakes(trained):
    page = Path(trained.directory, "report.html").read_text()
    assert "F1 of" in page and "Made up" in page
    numbers = json.loads(Path(trained.directory, "metrics.json").read_text())
    assert numbers["metrics"]["f1/X"]["value"] == 1 and numbers["labels"] == ["X", "Y"]


@pytest.mark.parametrize("name", ["bert", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_long_texts_are_answered_window_by_window(make_tiny, tmp_path, name):
    rows = [{"tokens": row["tokens"] * 9, "tags": row["tags"] * 9} for row in ROWS]
    tuner = FineTuner("token_classification", make_tiny(name), learning_rate=1e-2, sequence_length=24)
    tuner.fit(rows, epochs=6, batch_size=8, directory=tmp_path / "run")
    assert tuner.evaluate(rows[::4])["f1"].value > 0.9
    text = " ".join(rows[0]["tokens"])
    (entities,) = tuner.predict(text)["entities"]
    assert len(entities) == 18 and all(text[e["start"] : e["end"]] == e["text"] for e in entities)
    tuner.export(str(tmp_path / "1"))


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        pytest.param("lora", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("linear_probe", "float32", marks=pytest.mark.slow),
        pytest.param({"name": "freeze", "blocks": 1}, "mixed_bfloat16", marks=pytest.mark.slow),
    ],
)
def test_methods(make_tiny, tmp_path, method, precision):
    tuner = FineTuner("token_classification", make_tiny("bert"), method, precision=precision)
    tuner.fit(ROWS, validation_split=0.2, epochs=2, batch_size=8, directory=tmp_path / "run")
    assert kerasft.load(tmp_path / "run").predict("the great film")["entities"].shape == (1,)


@pytest.mark.parametrize(
    "objectives",
    [
        ["l2_sp", "focal", "class_balanced", "label_smoothing", "r_drop", "neftune"],
        pytest.param(["sam", {"name": "adversarial", "kind": "fgm"}], marks=pytest.mark.slow),
        [{"name": "adversarial", "kind": "smart"}],
    ],
)
def test_objectives(make_tiny, tmp_path, objectives):
    tuner = FineTuner("token_classification", make_tiny("bert"), objectives=objectives)
    history = tuner.fit(ROWS, epochs=2, batch_size=8, directory=tmp_path / "run").history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "objective",
    ["mixup", "manifold_mixup", {"name": "distillation", "teacher": "x"}, {"name": "pseudo_labels", "data": "x"}],
)
def test_objectives_on_rows_are_refused(objective):
    with pytest.raises(UserError, match="one answer a row. Received: task=TokenClassification"):
        FineTuner("token_classification", "bert_tiny_en_uncased", objectives=[objective])


def test_parts_of_a_batch_make_the_same_step(make_tiny):
    steps = []
    for at_once in (None, 3):
        tuner = FineTuner("token_classification", make_tiny("bert", dropout=0.0), labels=LABELS, dropout=0.0)
        rows = [*ROWS[:6], {"tokens": ["the"], "tags": ["O"]}]
        batch = next(iter(tuner.batches(rows, batch_size=7)))
        tuner.model.compile("sgd", tuner.task.loss())
        tuner.model.rows_at_once = at_once
        steps.append(tuner.model._computed(batch))
    assert float(steps[0].loss) == pytest.approx(float(steps[1].loss), rel=1e-5)
    for first, second in zip(steps[0].gradients, steps[1].gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(first), tf.convert_to_tensor(second), atol=1e-5)


def test_the_loss_is_the_mean_over_words(make_tiny):
    tuner = FineTuner("token_classification", make_tiny("bert", dropout=0.0), labels=LABELS, dropout=0.0)
    ((inputs, targets, weights),) = tuner.batches(ROWS[:3], batch_size=3)
    tuner.model.compile("sgd", tuner.task.loss())
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tuner.model(inputs))
    step = tuner.model._computed((inputs, targets, weights))
    assert float(step.loss) == pytest.approx(float(tf.reduce_mean(losses[weights > 0])), rel=1e-5)
    assert int(tf.math.count_nonzero(weights)) == sum(len(row["tokens"]) for row in ROWS[:3])


def test_chances_in_a_chain_are_those_of_all_its_sequences():
    random = np.random.default_rng(0)
    logits, pairs = random.normal(size=(3, 5, 3)).astype("float32"), random.normal(size=(3, 3)).astype("float32")
    lengths = [5, 3, 1]
    mask = np.arange(5) < np.array(lengths)[:, None]
    found = np.exp(chain(tf.constant(logits), tf.constant(mask), tf.constant(pairs)))
    for row, length in enumerate(lengths):
        expected = np.zeros((length, 3))
        for classes in itertools.product(range(3), repeat=length + 2):  # One before and one after may be any.
            inner = classes[1:-1]
            score = sum(logits[row, place, k] for place, k in enumerate(inner))
            score += sum(pairs[a, b] for a, b in itertools.pairwise(classes))
            expected[np.arange(length), inner] += np.exp(score)
        np.testing.assert_allclose(found[row, :length], expected / expected.sum(1, keepdims=True), atol=1e-6)
    plain = chain(tf.constant(logits), tf.constant(mask), tf.zeros((3, 3)))
    np.testing.assert_allclose(plain[mask], tf.nn.log_softmax(logits[mask]), atol=1e-6)
    assert chain(tf.zeros((0, 0, 3)), tf.zeros((0, 0), bool), tf.constant(pairs)).shape == (0, 0, 3)


@pytest.mark.parametrize("precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_a_random_field_learns_which_tags_follow_each_other(make_tiny, tmp_path, precision):
    settings = {"labels": LABELS, "crf": True, "learning_rate": 1e-2, "precision": precision}
    tuner = FineTuner("token_classification", make_tiny("bert"), **settings)
    tuner.fit(ROWS, validation_data=OTHERS, epochs=12, batch_size=8, directory=tmp_path / "run")
    pairs = tuner.model.head.pairs.numpy()
    assert pairs[LABELS.index("B-X"), LABELS.index("I-X")] > pairs[LABELS.index("O"), LABELS.index("I-X")]
    assert tuner.evaluate(ROWS)["f1"].value == 1
    texts = ["the great film was so cold .", "the"]
    answers = tuner.predict(texts)["entities"].tolist()
    assert [entity["text"] for entity in answers[0]] == ["great film", "cold"]
    loaded = kerasft.load(tmp_path / "run").predict(texts)["entities"].tolist()
    assert loaded[0][1] == {**answers[0][1], "score": pytest.approx(answers[0][1]["score"], abs=1e-5)}
    folder = tuner.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant([*texts, ""]))
    assert served["text"].numpy()[0].tolist() == [b"great film", b"cold"]


def test_texts_with_spans_and_words_with_tags_are_the_same():
    text = "Ann's in New York 🙂"
    spans = [{"start": 9, "end": 17, "label": "LOC"}, {"start": 0, "end": 3, "label": "PER"}]
    _, whole = prepared([{"text": text, "spans": spans}])
    task, words = prepared(
        [
            {
                "tokens": ["Ann", "'", "s", "in", "New", "York", "🙂"],
                "tags": ["B-PER", "O", "O", "O", "B-LOC", "I-LOC", "O"],
            }
        ]
    )
    assert whole["tags"].tolist() == words["tags"].tolist()
    assert [[word.strip() for word in row] for row in whole["tokens"]] == [
        [word.strip() for word in words["tokens"].iloc[0]]
    ]
    assert task.shown(whole)["entities"].tolist() == [
        [{"label": "PER", "text": "Ann"}, {"label": "LOC", "text": "New York"}]
    ]


def test_a_prepared_table_may_be_prepared_again():
    task, frame = prepared([{"text": "Ann, in  Bonn", "spans": [{"start": 9, "end": 13, "label": "LOC"}]}])
    pd.testing.assert_frame_equal(task.prepare(frame), frame)
    task, frame = prepared(ROWS)
    pd.testing.assert_frame_equal(task.prepare(frame), frame)


def test_lists_written_as_strings_and_tags_as_numbers():
    rows = pd.DataFrame({"tokens": ["a b", '["c d", "e"]'], "ner_tags": ["0 1", "[2, 0]"]})
    _, frame = prepared(rows, labels=["O", "B-A", "B-C"], columns={"tags": "ner_tags"})
    assert frame["tokens"].tolist() == [[" a", " b"], [" c d", " e"]]
    assert frame["tags"].tolist() == [["O", "B-A"], ["B-C", "O"]]


def test_lists_that_pandas_wrote(tmp_path):
    rows = pd.DataFrame({"tokens": [["EU", "rejects"]], "tags": [["B-ORG", "O"]]})
    rows.to_csv(tmp_path / "a.csv", index=False)
    task, frame = prepared(tmp_path / "a.csv")
    assert frame["tokens"].tolist() == [[" EU", " rejects"]] and frame["tags"].tolist() == [["B-ORG", "O"]]
    assert task.labels == ["O", "B-ORG"]


def test_no_span_is_found_where_all_tags_are_outside():
    task, frame = prepared([{"tokens": ["in", "Oslo"], "tags": ["O", "LOC"]}])
    outputs = tf.RaggedTensor.from_row_lengths(tf.constant([[9.0, 0], [9, 0]]), [2])
    assert spans.evaluate(task.targets(frame), outputs, task.labels).metrics["f1"].value == 0
    assert task.answers(task.decoded(outputs, frame))["entities"].tolist() == [[]]
    assert task.shown(frame)["entities"].tolist() == [[{"label": "LOC", "text": "Oslo"}]]


def test_tags_of_an_unknown_scheme_are_refused():
    with pytest.raises(UserError, match="Tags must be O, or .*IOB2.*BIOES.*Received: 'M-X' beside 'B-X'"):
        TokenClassification(labels=["O", "B-X", "M-X"])
    with pytest.raises(UserError, match="list of dicts cannot be used:\nTags must be .*Received: 'M-X' beside 'B-X'"):
        prepared([{"tokens": ["a", "b"], "tags": ["B-X", "M-X"]}])


def test_parts_of_speech_are_answered_word_by_word(make_tiny, tmp_path):
    rows = [{"tokens": ["the", name, "film"], "tags": ["DET", "ADJ", "NOUN"]} for name in NAMES * 4]
    tuner = FineTuner("token_classification", make_tiny("bert"), learning_rate=1e-2)
    tuner.fit(rows, epochs=8, batch_size=8, directory=tmp_path / "run")
    (entities,) = tuner.predict("the great film")["entities"]
    assert [e["label"] for e in entities] == ["DET", "ADJ", "NOUN"]


def test_a_span_within_a_word_is_told_and_widened():
    task, frame = prepared([{"text": "in Bonnn now", "spans": [{"start": 3, "end": 7, "label": "LOC"}]}])
    assert frame["tags"].tolist() == [["O", "B-LOC", "O"]]
    *_, (problems, what) = task.oddities(frame)
    assert "within a word" in what and "should be from 3 to 8. Received: 3 to 7" in problems[0]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "row 1: tags has 1 tags for 2 tokens"),
        ({"tokens": [], "tags": []}, "row 1: tokens is empty"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "row 1: tokens holds ' ', which is no word"),
        ({"tokens": 3, "tags": ["O"]}, "row 1: tokens is not a list of words"),
        ({"tokens": None, "tags": ["O"]}, "row 1: tokens is missing"),
        ({"tokens": ["a"], "tags": 3}, "row 1: tags is not a list of tags"),
        ({"tokens": ["a"], "tags": [None]}, "row 1: tags None is not one of the labels"),
        (
            {"text": "a b", "spans": [{"start": 2, "end": 9, "label": "X"}]},
            "a span to character 9, outside of the text of 3",
        ),
        ({"text": "a b", "spans": [{"start": 2, "end": 2, "label": "X"}]}, "from 2 to 2, which are no places"),
        ({"text": "a b", "spans": [{"start": 1, "end": 2, "label": "X"}]}, "a span of blanks, 1 to 2"),
        ({"text": "a b", "spans": [{"start": 1}]}, "spans is not a list of {start"),
        (
            {"text": "abc", "spans": [{"start": 0, "end": 2, "label": "X"}, {"start": 1, "end": 3, "label": "X"}]},
            r"has spans that overlap, \(0, 2\) and \(1, 3\)",
        ),
        ({"text": "", "spans": []}, "row 1: text is empty"),
        ({"tokens": ["a"], "tags": ["O"]}, "every word has the same tag. Received: O"),
        ({"text": "a", "spans": []}, "every word has the same tag. Received: no spans"),
        ({"text": "a", "label": "x"}, "has no column 'tokens'"),
    ],
)
def test_unusable_rows_are_refused(row, part):
    with pytest.raises(UserError, match=part):
        prepared([row])


def test_tags_that_training_lacks_are_refused():
    task, _ = prepared(ROWS)
    with pytest.raises(
        UserError, match="row 1: tags 'B-Z' is not one of the labels. The labels are: O, B-X, B-Y, I-X, I-Y"
    ):
        task.prepare(data_sources.load([{"tokens": ["a"], "tags": ["B-Z"]}]))
    with pytest.raises(UserError, match="'Z' is not one of the labels. The labels are: X, Y"):
        task.prepare(data_sources.load([{"text": "a", "spans": [{"start": 0, "end": 1, "label": "Z"}]}]))


def test_rows_that_cannot_be_used_may_be_left_out(make_tiny, tmp_path):
    tuner = FineTuner("token_classification", make_tiny("bert"))
    rows = [*ROWS, {"tokens": ["a", "b"], "tags": ["O"]}]
    with pytest.warns(UserWarning, match="1 of 21 rows are left out"):
        tuner.fit(rows, max_bad_rows=0.1, epochs=1, batch_size=8, directory=tmp_path / "run")
    assert "2 tokens" in (tmp_path / "run" / "quarantine.csv").read_text()


@pytest.mark.parametrize(
    "arguments", [{"labels": ["O"]}, {"labels": "OB"}, {"labels": ["a", "a"]}, {"sequence_length": 4}]
)
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(UserError, match="Received:"):
        TokenClassification(**arguments)
