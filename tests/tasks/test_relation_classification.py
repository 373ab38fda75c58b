import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline.clean import DataWarning
from kerasft.tasks.relation_classification import AFTER, RelationClassification, candidates, marked

PEOPLE, PLACES = ["the actor", "the film"], ["good", "bad", "great", "funny"]


def row(person, place, is_first, kinds=True):
    """A text whose relation is told by which of its spans is the subject alone."""
    text = f"{person} was {place} , he said"
    spans = [{"start": 0, "end": len(person)}, {"start": len(person) + 5, "end": len(person) + 5 + len(place)}]
    if kinds:
        spans = [{**span, "label": kind} for span, kind in zip(spans, ("PER", "ADJ"), strict=True)]
    subject, found = spans if is_first else spans[::-1]
    return {"text": text, "subject": subject, "object": found, "label": "is" if is_first else "said of"}


ROWS = [row(person, place, is_first) for person in PEOPLE for place in PLACES for is_first in (True, False)] * 2
BARE = [row(person, place, is_first, False) for person in PEOPLE for place in PLACES for is_first in (True, False)]


@pytest.fixture(scope="module")
def trained(make_tiny, tmp_path_factory):
    # It reads bytes, and so all signs, which the vocabulary of the tiny BERT lacks.
    tuner = FineTuner("relation_classification", make_tiny("gpt2"), learning_rate=1e-2, dropout=0.0)
    tuner.fit(ROWS, epochs=20, batch_size=8, directory=tmp_path_factory.mktemp("trained") / "run")
    return tuner


def test_it_learns_which_span_is_which(trained):
    assert trained.evaluate(ROWS)["accuracy"].value > 0.9
    assert trained.task.kinds and trained.task.labels == ["is", "said of"]


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    asked = [{name: given[name] for name in ("text", "subject", "object")} for given in ROWS[:3]]
    loaded = kerasft.load(trained.directory)
    expected = trained.predict(asked)
    np.testing.assert_allclose(loaded.predict(asked)["scores"], expected["scores"], atol=1e-6)
    pd.testing.assert_frame_equal(
        loaded.samples, trained.samples[["text", "subject", "object"]].reset_index(drop=True).set_axis(range(1, 9))
    )
    folder = loaded.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"]
    arrays = trained.task.request(trained.task.prepare(data_sources.load(asked), with_targets=False))
    assert arrays["subject"].shape == (3, 2) and arrays["subject"].dtype == "int32"
    found = served(**{name: tf.constant(values) for name, values in arrays.items()})
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)


def test_spans_without_kinds(make_tiny, tmp_path):
    tuner = FineTuner("relation_classification", make_tiny("gpt2"), "lora")
    tuner.fit(BARE, epochs=1, batch_size=8, directory=tmp_path / "run")
    assert tuner.task.kinds is False and sorted(tuner.task.signature()) == ["object", "subject", "text"]
    text, subject, found = BARE[0]["text"], BARE[0]["subject"], BARE[0]["object"]
    ways = [
        (text, subject, {**found, "label": "ignored"}),
        (text, (subject["start"], subject["end"]), [found["start"], found["end"]]),
        (text, f"{subject['start']}:{subject['end']}", f"{found['start']}:{found['end']}:ADJ"),
        (text, json.dumps(subject), json.dumps(found)),
    ]
    scores = tuner.predict(ways)["scores"]
    np.testing.assert_allclose(scores, np.repeat(scores[:1], 4, axis=0), atol=1e-6)
    tuner.export(str(tmp_path / "1"))


def strings(*arguments):
    return [text.decode() for text in marked(*map(tf.constant, arguments), before=256).numpy()]


def test_signs_around_spans():
    text = "Zoë 🙂 met 北京 there"
    places = [[text.index("Zoë"), 3]], [[text.index("北京"), text.index("北京") + 2]]
    assert strings([text], *places) == ["@ Zoë @ 🙂 met # 北京 # there"]
    assert strings([text], *reversed(places)) == ["# Zoë # 🙂 met @ 北京 @ there"]
    assert strings([text], *places, ["PER"], ["LOC"]) == ["@ * PER * Zoë @ 🙂 met # ^ LOC ^ 北京 # there"]
    assert marked(tf.constant([], tf.string), *[tf.zeros((0, 2), "int32")] * 2, before=8).shape == (0,)


def test_the_spans_of_a_long_text_are_read():
    text = "word " * 1000 + "Anna joined Acme" + " word" * 1000
    begin = text.index("Anna")
    (made,) = strings([text], [[begin, begin + 4]], [[begin + 12, begin + 16]])
    assert "@ Anna @ joined # Acme #" in made and 256 + AFTER < len(made) < 256 + AFTER + 40


def test_spans_are_read_whatever_the_script(make_tiny):
    tuner = FineTuner("relation_classification", make_tiny("gpt2"), labels=["a", "b"], sequence_length=64)
    text = "x" * 1000 + " Anna joined Acme"  # Of the tiny GPT-2 a token is a letter.
    rows = [{"text": text, "subject": (1001, 1005), "object": (1013, 1017), "label": "a"}]
    frame = tuner.task.prepare(data_sources.load(rows))
    made = tuner.task.examples(frame, tuner.preprocessor)
    ids = tuner.preprocessor.tokenized(["@ Anna @ joined # Acme #"])[0].numpy().tolist()
    assert str(ids)[1:-1] in str(made.token_ids.tolist()) and made.lengths[0] < 64
    apart = tuner.task.prepare(data_sources.load([{**rows[0], "subject": (0, 5)}]))
    with pytest.warns(DataWarning, match="1 of 1 rows lose their second span, which ends beyond sequence_length=64"):
        tuner.task.examples(apart, tuner.preprocessor)


def test_pairs_of_entities():
    found = [{"start": 0, "end": 4, "label": "PER"}, {"start": 12, "end": 16, "label": "ORG"}]
    table = candidates(["Anna joined Acme", "nobody"], [found, []])
    assert table["subject"].tolist() == found and table["object"].tolist() == found[::-1]
    assert RelationClassification(kinds=True).prepare(table, with_targets=False)["subject"].tolist() == found


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"subject": {"start": 0, "end": 99}}, "row 1: subject has a span to character 99, outside of the text of"),
        ({"subject": {"start": 4, "end": 4}}, "row 1: subject has a span from 4 to 4, which are no places"),
        ({"subject": {"start": 3, "end": 4}}, "row 1: subject has a span of blanks"),
        ({"subject": "the actor"}, "row 1: subject is not {start: …, end: …}, two whole numbers"),
        ({"subject": None}, "row 1: subject is missing"),
        ({"object": {"start": 2, "end": 6}}, "row 1: object overlaps with the subject"),
        ({"text": " "}, "row 1: text is blank"),
        ({"label": None}, "row 1: label is missing"),
    ],
)
def test_unusable_rows_are_refused(change, part):
    rows = [{**BARE[0], **change}, *BARE[1:]]
    with pytest.raises(UserError, match=part):
        RelationClassification().prepare(data_sources.load(rows))


def test_kinds_must_be_there_where_they_were_learned():
    task = RelationClassification(labels=["is", "said of"], kinds=True)
    with pytest.raises(UserError, match="subject has no label, as the spans that were learned from have"):
        task.prepare(data_sources.load(BARE))


@pytest.mark.parametrize(
    ("arguments", "part"), [({"pair": True}, "reads one text"), ({"kinds": "PER"}, "kinds must be true or false")]
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        RelationClassification(**arguments)


def test_inputs_of_another_form_are_refused():
    with pytest.raises(UserError, match="a text, its subject and its object. Received: 'a text'"):
        RelationClassification().frame_of(["a text"])
