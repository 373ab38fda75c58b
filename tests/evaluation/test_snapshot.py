import html
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tensorboard.plugin_util import markdown_to_safe_html

from kerasft.evaluation import figures, snapshot
from kerasft.evaluation.snapshot import Snapshot
from kerasft.methods import Freeze, LinearProbe
from kerasft.model import FineTunedModel
from kerasft.tasks.image_classification import ImageClassification
from kerasft.tasks.text_classification import TextClassification

NASTY = [
    "a | b",
    "<script>x</script>",
    "*a* _b_ `c`",
    "[a](http://b.c)",
    "# 1\n- 2",
    "&amp; \\ ~",
    "$x$\u202e!",
    "1. a",
]


def rows_of(markdown):
    """Returns the cells as TensorBoard shows them."""
    shown = markdown_to_safe_html(markdown)
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    assert set(re.findall(r"<(\w+)", shown)) <= {"table", "thead", "tbody", "tr", "th", "td", "br"}
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def text_snapshot(tiny_bert, frame, **kwargs):
    task = TextClassification(**kwargs)
    frame = task.prepare(frame)
    preprocessor = task.preprocessor(tiny_bert)
    return Snapshot(task, FineTunedModel(tiny_bert.backbone, task.head(tiny_bert)), preprocessor, frame)


def test_what_is_frozen_is_computed_once(tiny_bert):
    frame = pd.DataFrame({"text": ["a good film", "bad", "so so"], "label": ["a", "b", "a"]})
    shown = text_snapshot(tiny_bert, frame)
    expected, model = shown.outputs(), shown.model
    model.choose(LinearProbe().apply)
    np.testing.assert_allclose(shown.outputs(), expected, atol=1e-6)
    first = shown.computed
    model.head.logits.bias.assign([1.0, 0.0])
    np.testing.assert_allclose(shown.outputs(), expected + [1.0, 0.0], atol=1e-6)
    assert shown.computed is first
    model.choose(Freeze(blocks=1).apply)
    np.testing.assert_allclose(shown.outputs(), expected + [1.0, 0.0], atol=1e-6)
    assert shown.computed is not first


def test_nothing_in_an_example_is_taken_for_markdown_or_html():
    frame = pd.DataFrame({"text": NASTY, "label": NASTY})
    decoded = {"label": np.array([text.encode() for text in NASTY]), "score": np.full(8, 0.25, "float32")}
    header, *rows = rows_of(snapshot.table(("text",), frame, decoded))
    assert header == ["", "text", "true label", "predicted label", "score"]
    for text, row in zip(NASTY, rows, strict=True):
        expected = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        assert row == ["✓", expected, expected, expected, "0.250"]


def test_long_texts_are_cut_and_broken_into_lines():
    frame = pd.DataFrame({"text": ["word " * 100], "label": ["a"]})
    _, row = rows_of(snapshot.table(("text",), frame, {"label": np.array([b"b"])}))
    lines = row[1].split("<br>")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 60
    assert lines[-1].endswith("…")
    assert row[0] == "✗"


def test_labels_of_many_are_compared_in_any_order():
    frame = pd.DataFrame({"text": ["x", "y"], "label": [["b", "a"], "a|c"]})
    rows = rows_of(snapshot.table(("text",), frame, {"label": np.array([b"a|b", b"a"])}))
    assert [row[0] for row in rows] == ["", "✓", "✗"]


def test_the_confusion_matrix_is_that_of_the_model(tiny_bert, reviews, monkeypatch):
    drawn = []
    original = figures.confusion_figure
    monkeypatch.setattr(figures, "confusion_figure", lambda c, names: drawn.append((c, names)) or original(c, names))
    made = text_snapshot(tiny_bert, pd.DataFrame(reviews))
    shown = made()
    inputs = dict(made.examples.gather(np.arange(len(reviews)), int(made.examples.lengths.max())))
    predicted = np.asarray(made.model(inputs, training=False)).argmax(-1)
    truth = (made.frame["label"] == "positive").to_numpy(int)
    expected = np.zeros((2, 2), int)
    np.add.at(expected, (truth, predicted), 1)
    ((confusion, names),) = drawn
    np.testing.assert_array_equal(confusion, expected)
    assert names == ["negative", "positive"]
    assert set(shown) == {"validation/predictions", "validation/confusion"}
    assert Image.open(io.BytesIO(shown["validation/confusion"])).format == "PNG"


def test_the_table_shows_what_the_model_predicts_of_the_same_examples(tiny_bert, reviews):
    made = text_snapshot(tiny_bert, pd.DataFrame(reviews))
    first, second = made()["validation/predictions"], made()["validation/predictions"]
    assert first == second
    _, *rows = rows_of(first)
    assert [row[1] for row in rows] == made.frame["text"].head(8).tolist()
    decoded = made.task.decode(made.outputs())
    expected = [label.decode() for label in decoded["label"].numpy()[:8]]
    assert [row[3] for row in rows] == expected
    assert [float(row[4]) for row in rows] == pytest.approx(decoded["score"].numpy()[:8], abs=5e-4)


def test_a_large_table_is_sampled(tiny_bert, reviews, monkeypatch):
    monkeypatch.setattr(snapshot, "EXAMPLES", 10)
    made = text_snapshot(tiny_bert, pd.DataFrame(reviews))
    assert len(made.outputs()) == len(made.frame) == 10
    assert made.frame["label"].nunique() == 2  # Not the first ten of a sorted table.


def test_many_labels_have_no_confusion_matrix(tiny_bert):
    frame = pd.DataFrame({"text": ["good film", "bad plot", "dull"], "label": [["a", "b"], ["b"], []]})
    assert set(text_snapshot(tiny_bert, frame, multi_label=True)()) == {"validation/predictions"}


def test_images_are_shown(tiny_efficientnet, png_images):
    files, labels = png_images
    task = ImageClassification()
    frame = task.prepare(pd.DataFrame({"image": pd.Series(files, dtype=object), "label": labels}))
    model = FineTunedModel(tiny_efficientnet.backbone, task.head(tiny_efficientnet))
    shown = Snapshot(task, model, task.preprocessor(tiny_efficientnet), frame)()
    assert set(shown) == {"validation/predictions", "validation/images", "validation/confusion"}
    assert Image.open(io.BytesIO(shown["validation/images"])).size == (400, 800)
    _, *rows = rows_of(shown["validation/predictions"])
    assert sorted(row[1] for row in rows) == [f"row {number}" for number in range(8)]
