import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import words
from kerasft.tasks.question_answering import QuestionAnswering

NAMES = ["good", "great", "funny", "bad", "dull", "slow", "cold", "weak"]


def row(name, other, question="the film ?"):
    context = f"the film was {name} and the actor was {other} ."
    answer = {"text": name, "start": 13} if question.startswith("the film") else {"text": other}
    answer["start"] = context.index(f"was {answer['text']}") + 4
    return {"question": question, "context": context, "answers": [answer]}


ROWS = [row(a, b, q) for a in NAMES for b in NAMES if a != b for q in ("the film ?", "the actor ?")]
NONE = [{**given, "question": "the music ?", "answers": []} for given in ROWS[::4]]


@pytest.fixture(scope="module")
def trained(make_tiny, tmp_path_factory):
    tuner = FineTuner("question_answering", make_tiny("bert"), learning_rate=1e-2, dropout=0.0)
    tuner.fit(
        ROWS[12:],
        validation_data=ROWS[:12],
        epochs=15,
        batch_size=16,
        directory=tmp_path_factory.mktemp("trained") / "run",
    )
    return tuner


def test_it_answers_and_says_where(trained):
    assert trained.evaluate(ROWS)["exact"].value > 0.25  # By chance it would be below 0.1.
    context = ROWS[0]["context"]
    answers = trained.predict([("the film ?", context), ("the actor ?", context)])
    for answer, start, end in zip(answers["answer"], answers["start"], answers["end"], strict=True):
        assert context[start:end] == answer.decode()
    assert answers["answers"].shape == answers["scores"].shape == (2, 5)
    assert (answers["scores"][:, 0] == answers["score"]).all() and (np.diff(answers["scores"]) <= 0).all()


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    pairs = [("the film ?", ROWS[0]["context"]), ("?", "\x07")]
    loaded = kerasft.load(trained.directory)
    expected, found = trained.predict(pairs), loaded.predict(pairs)
    assert found["answer"].tolist() == expected["answer"].tolist() and expected["answer"][1] == b""
    folder = trained.export(str(tmp_path / "1"))
    question, context = (tf.constant(column) for column in zip(*pairs, strict=True))
    served = tf.saved_model.load(folder).signatures["serving_default"](question=question, context=context)
    assert served["answer"].numpy().tolist() == expected["answer"].tolist()
    assert served["start"].numpy()[1] == -1


def test_questions_without_an_answer(make_tiny, tmp_path):
    tuner = FineTuner("question_answering", make_tiny("bert"), learning_rate=1e-2, dropout=0.0)
    data, held = ROWS[12::2] + NONE[3:], ROWS[:12:2] + NONE[:3]  # What "film" and "music" mean is soon learned.
    patient = keras.callbacks.EarlyStopping("val_loss", patience=40, restore_best_weights=True)
    tuner.fit(data, validation_data=held, epochs=40, batch_size=16, callbacks=[patient], directory=tmp_path / "run")
    assert tuner.task.no_answer and tuner.recipe["threshold"] == tuner.task.threshold != 0
    found = tuner.evaluate(data)
    assert {"f1/answerable", "f1/unanswerable"} <= set(found) and found["exact/unanswerable"].value > 0.5
    loaded = kerasft.load(tmp_path / "run")
    assert loaded.task.threshold == tuner.task.threshold
    answers = loaded.predict([(NONE[0]["question"], NONE[0]["context"])])
    assert answers["answer"][0] == b"" and answers["start"][0] == answers["end"][0] == -1
    tuner.export(str(tmp_path / "1"))


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_each_window_knows_where_its_answer_is(make_tiny, name):
    filler = "it is not so . " * 12
    given = [{**r, "context": filler + r["context"] + filler} for r in ROWS[:9]]
    for example in given:
        example["answers"] = [{**a, "start": a["start"] + len(filler)} for a in example["answers"]]
    tuner = FineTuner("question_answering", make_tiny(name), sequence_length=48)
    frame = tuner.task.prepare(data_sources.load(given))
    made = tuner.task.examples(frame, tuner.preprocessor)
    assert len(made) > 2 * len(given) and made.lengths.max() <= 48
    tokenizer = made.preprocessor.tokenizer
    found = set()
    for number, (first, last) in enumerate(made.targets):
        row_number = made.places.windows[number, 0]
        if first:
            ids = made.token_ids[made.offsets[number] + first : made.offsets[number] + last + 1]
            expected = np.asarray(tokenizer([" " + given[row_number]["answers"][0]["text"]])[0])
            np.testing.assert_array_equal(ids, expected)
            found.add(row_number)
    assert found == set(range(len(given)))
    outputs = tuner.outputs(frame)
    assert outputs.row_lengths().numpy().tolist() == [len(tokens) for tokens in frame["tokens"]]


def test_outputs_are_relative_to_none(make_tiny):
    tuner = FineTuner("question_answering", make_tiny("bert"), sequence_length=32)
    frame = tuner.task.prepare(data_sources.load(ROWS[:5]))
    question, context = tf.constant(frame["question"].tolist()), tf.constant(frame["context"].tolist())
    found, *_ = words.split(context)
    rows, places = tuner.preprocessor.windows(found, question)
    logits = tuner.model(tuner.preprocessor.dense(rows))
    outputs = tuner.outputs(frame)
    for number, (window, first, last) in enumerate(places.words.numpy()):
        expected = [logits[window, first, 0] - logits[window, 0, 0], logits[window, last, 1] - logits[window, 0, 1]]
        np.testing.assert_allclose(outputs.flat_values[number], expected, atol=1e-5)


def test_the_question_is_the_first_segment(make_tiny):
    tuner = FineTuner("question_answering", make_tiny("bert"))
    rows, _ = tuner.preprocessor.windows(words.ragged([["a", "film"]]), tf.constant(["good ?"]))
    assert rows["segment_ids"].to_list() == [[0, 0, 0, 0, 1, 1, 1]]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "linear_probe", {"name": "freeze", "blocks": 1}])
def test_methods(make_tiny, tmp_path, method):
    tuner = FineTuner("question_answering", make_tiny("bert"), method)
    tuner.fit(ROWS[:32], validation_split=0.2, epochs=2, batch_size=16, directory=tmp_path / "run")
    assert kerasft.load(tmp_path / "run").predict([("?", "a film")])["answer"].shape == (1,)


def test_objectives(make_tiny, tmp_path):
    objectives = ["l2_sp", "neftune", "sam", {"name": "adversarial", "kind": "fgm"}]
    tuner = FineTuner("question_answering", make_tiny("bert"), objectives=objectives)
    history = tuner.fit(ROWS[:32], epochs=2, batch_size=16, directory=tmp_path / "run").history
    assert np.isfinite(history["loss"]).all()


def test_answers_as_hugging_face_has_them():
    task = QuestionAnswering()
    frame = task.prepare(
        data_sources.load(
            [
                {"question": "a", "context": "ab cd", "answers": {"text": ["cd"], "answer_start": [3]}},
                {"question": "a", "context": "ab cd", "answers": {"text": [], "answer_start": []}},
            ]
        )
    )
    assert frame["answers"].tolist() == [[{"text": "cd", "start": 3}], []] and task.no_answer


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            {"answers": [{"text": "cd", "start": 2}]},
            "has the answer 'cd', which is not in the context at 2; it is at 3",
        ),
        ({"answers": [{"text": "x", "start": 0}]}, "'x', which is not in the context at 0, nor anywhere in it"),
        ({"answers": [{"text": " ", "start": 2}]}, "has an answer without text"),
        ({"answers": [{"text": "ab", "start": "0"}]}, "is not in the context at '0'; it is at 0"),
        ({"answers": "cd"}, "answers is not a list of {text"),
        ({"answers": None}, "row 1: answers is missing"),
        ({"question": ""}, "row 1: question is empty"),
        ({"context": None}, "row 1: context is missing"),
    ],
)
def test_unusable_rows_are_refused(change, part):
    given = {"question": "a", "context": "ab cd", "answers": [{"text": "cd", "start": 3}], **change}
    with pytest.raises(UserError, match=part):
        QuestionAnswering().prepare(data_sources.load([given]))


@pytest.mark.parametrize(
    "arguments", [{"no_answer": "maybe"}, {"threshold": float("nan")}, {"threshold": "0"}, {"sequence_length": 16}]
)
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(UserError, match="Received:"):
        QuestionAnswering(**arguments)


@pytest.mark.parametrize("inputs", ["a", ["a"], [("a", "b", "c")]])
def test_inputs_are_pairs(inputs):
    with pytest.raises(UserError, match="a question and a context"):
        QuestionAnswering().frame_of(inputs)
