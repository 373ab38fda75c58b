import html.parser
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kerasft.evaluation import report
from kerasft.evaluation.classification import evaluate

EVIL = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>'
HISTORY = {"loss": [1.0, 0.5, float("nan"), 0.4], "val_loss": [0.9, 0.6, 0.6, 0.7], "f1s": [np.array([1.0, 0.0])] * 4}


class Page(html.parser.HTMLParser):
    """Collects what a browser would see, and fails on tags that do not match."""

    VOID = ("meta", "br", "wbr", "img")

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def random_evaluation(classes=3, rows=60, frame=None, multi_label=False, labels=None):
    rng = np.random.default_rng(0)
    shape = (rows, classes) if multi_label else rows
    targets = rng.integers(2 if multi_label else classes, size=shape)
    labels = labels or [f"class {i}" for i in range(classes)]
    return evaluate(targets, rng.normal(size=(rows, classes)), labels, frame, multi_label, resamples=20)


def written(evaluation, folder, **arguments):
    report.write(evaluation, folder, **{"title": "run", "facts": {}, **arguments})
    page = (folder / "report.html").read_text(encoding="utf-8")
    return Page(page), json.loads((folder / "metrics.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_headline_says_it_in_words(tmp_path):
    evaluation = evaluate([0, 0, 1, 1], [[1.0, 0], [1, 0], [0, 1], [1, 0]], ["no", "yes"], resamples=50)
    page, _ = written(evaluation, tmp_path, title="reviews")
    assert "75.0 % of 4 examples right 95 % interval" in page.text
    assert "Always answering “no” would be right for 50.0 %." in page.text
    assert "reviews" in page.texts


def test_metrics_file_is_plain_json(tmp_path):
    _, numbers = written(random_evaluation(), tmp_path)
    assert list(numbers) == ["metrics", "per_class", "confusion", "examples", "labels"]
    assert numbers["examples"] == 60
    assert np.shape(numbers["confusion"]) == (3, 3)
    assert set(numbers["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert set(numbers["per_class"][0]) == {"label", "support", "precision", "recall", "f1"}
    assert numbers["per_class"][0]["f1"] == numbers["metrics"]["f1/class 0"]


def test_not_a_number_is_null(tmp_path):
    page, numbers = written(evaluate([0], [[1.0, 0.0]], ["a", "b"], resamples=5), tmp_path)
    assert numbers["metrics"]["auroc"] == {"value": None, "low": None, "high": None}
    assert "nan" not in page.text.lower()
    assert "1 example right no interval" in page.text


def test_nothing_is_loaded_or_run(tmp_path):
    page, _ = written(random_evaluation(), tmp_path, facts={"task": "x"}, history=HISTORY)
    assert "script" not in page.tags
    assert not {"src", "href", "onload", "onerror"} & {name for name, _ in page.attributes}
    assert "http" not in (tmp_path / "report.html").read_text(encoding="utf-8").replace("http-equiv", "")


def test_what_users_write_stays_text(tmp_path):
    frame = pd.DataFrame({"text": [EVIL] * 60}, index=range(1, 61))
    frame.attrs["origin"] = EVIL
    evaluation = random_evaluation(frame=frame, labels=[EVIL, "$title ${content}", "café 日本"])
    page, numbers = written(evaluation, tmp_path, title=EVIL, facts={EVIL: EVIL}, history={EVIL: [1.0]})
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert EVIL in page.texts
    assert "$title ${content}" in page.texts
    assert numbers["labels"] == [EVIL, "$title ${content}", "café 日本"]


def test_text_that_cannot_be_printed_is_replaced(tmp_path):
    frame = pd.DataFrame({"text": pd.Series(["\ud800 half \x00 \u202e turned"] * 60, dtype=object)})
    page, numbers = written(random_evaluation(frame=frame, labels=["a\ud800", "b", "c"]), tmp_path)
    assert "� half � � turned" in page.text
    assert numbers["labels"][0] == "a\ud800"


def test_long_texts_are_cut(tmp_path):
    page, _ = written(random_evaluation(frame=pd.DataFrame({"text": ["word " * 1000] * 60})), tmp_path)
    assert max(map(len, page.texts[10:])) < 500


def test_images_are_inside_the_page(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(40, 200, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "saved.png")
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG")
    kinds = [
        pixels,
        pixels[..., 0],
        pixels[..., :1],
        str(tmp_path / "saved.png"),
        encoded.getvalue(),
        "gone.png",
        b"no",
    ]
    frame = pd.DataFrame({"image": pd.Series([kinds[i % 7] for i in range(60)], dtype=object)})
    page, _ = written(random_evaluation(frame=frame), tmp_path)
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "(image cannot be read)" in page.text
    assert len(sources) + page.text.count("(image cannot be read)") == 20


@pytest.mark.parametrize("classes", [2, 5, 12, 40, 100])
def test_matrix_of_any_size(tmp_path, classes):
    evaluation = random_evaluation(classes, rows=200)
    page, _ = written(evaluation, tmp_path)
    assert page.tags.count("rect") >= np.count_nonzero(evaluation.confusion)
    assert "class 0 predicted as" in page.text


def test_several_labels_have_no_matrix(tmp_path):
    page, numbers = written(random_evaluation(multi_label=True), tmp_path)
    assert "with every label right" in page.text
    assert "Made up" in page.text
    assert "What is taken for what" not in page.text
    assert np.shape(numbers["confusion"]) == (3, 2, 2)


def test_learning_curves_leave_gaps(tmp_path):
    page, _ = written(random_evaluation(), tmp_path, history=HISTORY)
    courses = [value for name, value in page.attributes if name == "class" and value.startswith("course training")]
    assert len(courses) == 2  # before and after the epoch that is not a number
    assert "f1s" not in page.text


@pytest.mark.parametrize("history", [None, {}, {"loss": [float("nan")]}, {"val_loss": [0.3]}, {"loss": [0.0, 0.0]}])
def test_odd_histories(tmp_path, history):
    page, _ = written(random_evaluation(), tmp_path, history=history)
    assert ("Learning curves" in page.text) == bool(history)


def test_all_right_and_all_wrong(tmp_path):
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    for name, targets in (("right", [0, 1]), ("wrong", [1, 0])):
        evaluation = evaluate(targets, logits, ["a", "b"], resamples=5)
        page, _ = written(evaluation, tmp_path / name)
        assert ("Surest mistakes" in page.text) == (name == "wrong")


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    written(random_evaluation(), tmp_path)
    before = (tmp_path / "metrics.json").read_bytes()
    monkeypatch.setattr(report.os, "replace", lambda *_: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception):
        report.write(random_evaluation(4), tmp_path, "run", {})
    assert (tmp_path / "metrics.json").read_bytes() == before
