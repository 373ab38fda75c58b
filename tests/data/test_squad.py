import json

import pytest

from kerasft.data import base
from kerasft.errors import UserError

FOUND = {
    "question": "Who?",
    "id": "1",
    "answers": [{"text": "Ann", "answer_start": 0}, {"text": "Ann", "answer_start": 0}],
}
NONE = {"question": "Why?", "id": "2", "is_impossible": True, "answers": [], "plausible_answers": []}


def written(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_questions_with_and_without_answers(tmp_path):
    paragraphs = [{"context": "Ann is here.", "qas": [FOUND, NONE]}, {"context": "None.", "qas": []}]
    frame = base.load(written(tmp_path, {"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    assert frame["question"].tolist() == ["Who?", "Why?"] and frame["context"].tolist() == ["Ann is here."] * 2
    assert frame["answers"].tolist() == [[{"text": "Ann", "start": 0}] * 2, []]
    assert frame.attrs["origin"] == "a.json" and frame.index.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([{"text": "a"}], "is no SQuAD file"),
        ({"data": [{"paragraphs": [{"context": "a"}]}]}, "Received: KeyError\\('qas'\\)"),
        (
            {"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "b", "answers": None}]}]}]},
            "is no SQuAD file",
        ),
        ({"data": []}, "holds no examples"),
        ("{", "a.json"),
    ],
)
def test_other_files_are_refused(tmp_path, content, part):
    with pytest.raises(UserError, match=part):
        base.load(written(tmp_path, content))
