"""Labels and values that `fit` is given and should not train on: refused with the row before anything loads, or said.

What is refused never reaches a loss, whatever compiles it: with XLA a label out of range gives NaN and no error
(https://github.com/tensorflow/tensorflow/issues/126005).
"""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline.clean import DataWarning, one_sided
from kerasft.presets import base as presets

GIVEN, MULTI = {"labels": ["no", "yes"]}, {"multi_label": True}
BOTH = {**GIVEN, **MULTI}


@pytest.fixture
def nothing_loads(monkeypatch):
    def fail(identifier):
        raise AssertionError(f"loaded {identifier!r}")

    monkeypatch.setattr(presets, "resolve", fail)


def rows_of(labels):
    return [{"text": f"film {number}", "label": label} for number, label in enumerate(labels)]


REFUSED = {
    "out of range": (GIVEN, [0, 1, 2], "row 3: label '2' is not one of the labels"),
    "negative": (GIVEN, [0, 1, -1], "row 3: label '-1' is not one of the labels"),
    "a fraction among whole numbers": (GIVEN, [0, 1, 0.5], "row 3: label '0.5' is not one of the labels"),
    "fractions": ({}, [0.5, 1.5, 0.5, 1.5], "the labels are fractions"),
    "infinite": (GIVEN, [0, 1, float("inf")], "row 3: label 'inf' is not one of the labels"),
    "infinite, learned": ({}, [0, 1, 0, 1, float("inf")], "the labels are fractions"),
    "NaN": (GIVEN, [0, float("nan")], "row 2: label is missing"),
    "NaN, learned": ({}, [0, 1, 0, 1, np.nan], "row 5: label is missing"),
    "None": ({}, ["a", "b", "a", "b", None], "row 5: label is missing"),
    "pandas' NA": ({}, ["a", "b", "a", "b", pd.NA], "row 5: label is missing"),
    "empty": ({}, ["a", "b", "a", "b", ""], "row 5: label is missing"),
    "blank": (GIVEN, ["no", " "], "row 2: label is missing"),
    "a name among numbers": (GIVEN, [0, 1, "maybe"], "row 3: label 'maybe' is not one of the labels"),
    "another case": (GIVEN, ["no", "Yes"], "row 2: label 'Yes' is not one of the labels. Did you mean 'yes'?"),
    "a bool for a name": (GIVEN, ["no", True], "row 2: label 'True' is not one of the labels"),
    "one class": ({}, ["a"] * 4, "only one class, 'a'"),
    "each its own class": ({}, list("abcdef"), "no label occurs twice"),
    "1,001 classes": ({}, [f"c{n}" for n in range(1001)] * 2, "1,001 different labels"),
    "one number in two ways": ({}, ["1", "1.0", "0", "1", "1.0"], "one number is written in two ways"),
    "one-hot rows": (GIVEN, [[1, 0], [0, 1]], "row 1: label is a list"),
    "an array of one": (GIVEN, [np.array([1]), 0], "row 1: label is a list"),
    "a dict": (GIVEN, [{"yes": 1}, "no"], "row 1: label is a list"),
    "multi-label, a list where one is wanted": ({}, ["a", "b", "a", "b", ["a", "b"]], "row 5: label is a list"),
    "multi-label, unknown": (BOTH, [["yes"], ["no", "maybe"]], "row 2: label 'maybe' is not one of the labels"),
    "multi-label, missing": (BOTH, [["yes"], None], "row 2: label is missing"),
    "multi-label, NaN in a row": (BOTH, [["yes"], ["no", np.nan]], "row 2: label is missing"),
    "multi-label, twice": (MULTI, ["a|b", "b", "a|a"], "row 3: label names a label twice"),
    "multi-label, zeros and ones": (MULTI, [[0, 1, 1], [1, 0, 0]], "row 1: label names a label twice"),
    "multi-label, one-hot of two": (MULTI, [[0, 1], [1, 0], [0, 1]], "Every row has the same labels, 0, 1"),
    "multi-label, out of range": (BOTH, [[0], [1, 2]], "row 2: label '2' is not one of the labels"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_are_refused_before_anything_loads(nothing_loads, name):
    arguments, labels, message = REFUSED[name]
    with pytest.raises(UserError) as error:
        FineTuner("text_classification", "x", **arguments).fit(rows_of(labels))
    assert message in str(error.value) and "Received: " in str(error.value)


VALIDATION = {
    "a class that training has not": ({}, ["c"], "row 1: label 'c' is not one of the labels"),
    "missing": ({}, [None], "row 1: label is missing"),
    "numbers where names were learned": ({}, ["a", 2], "row 2: label '2' is not one of the labels"),
    "several": (MULTI, ["a|c"], "row 1: label 'c' is not one of the labels"),
}


@pytest.mark.parametrize("name", VALIDATION)
def test_labels_of_the_validation_data(nothing_loads, name):
    arguments, labels, message = VALIDATION[name]
    with pytest.raises(UserError) as error:
        FineTuner("text_classification", "x", **arguments).fit(rows_of("abab"), validation_data=rows_of(labels))
    assert message in str(error.value)


def test_numbers_are_no_positions_where_labels_are_numbers_with_a_point(nothing_loads):
    """In a CSV file pandas writes 1.0 and 2.0; the number 1 is not the second of them."""
    tuner = FineTuner("text_classification", "x")
    with pytest.raises(UserError, match="row 1: label '1' is not one of the labels."):
        tuner.fit(rows_of(["1.0", "2.0"] * 2), validation_data=rows_of([1]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.eye(2)[[0, 1, 0, 1]], r"y must hold one label a row.*y.argmax\(axis=-1\).*list of lists.*shape \(4, 2\)"),
        (np.zeros((4, 1, 1)), r"shape \(4, 1, 1\)"),
        (np.zeros(3), "x and y must have the same length. Received: 4 and 3"),
        (np.array([0, 1, np.nan, 1]), "row 3: label is missing. Received: nan"),
        (np.array([0, 1, np.inf, 1]), "the labels are fractions"),
        (np.array([0.0, 1.0, -1.0, 0.5]), "no label occurs twice"),
        (5, r"y must hold one label a row.*Received: shape \(\)"),
    ],
)
def test_arrays_of_labels(nothing_loads, y, message):
    with pytest.raises(UserError, match=message):
        FineTuner("text_classification", "x").fit((["a", "b", "c", "d"], y))


@pytest.mark.parametrize("weights", [np.ones(4), np.array([1, np.nan, np.inf, -1])])
def test_weights_of_rows_are_not_taken_and_not_ignored(nothing_loads, weights):
    texts, labels = ["a", "b", "c", "d"], [0, 1, 0, 1]
    with pytest.raises(UserError, match=r"Data must be .*\(x, y\) arrays.*Received: tuple"):
        FineTuner("text_classification", "x").fit((texts, labels, weights))
    with pytest.raises(UserError, match=r"must give dicts, or \(x, y\)"):
        FineTuner("text_classification", "x").fit(tf.data.Dataset.from_tensor_slices((texts, labels, weights)))


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 40, 36, 3)).astype("float32")


def changed(value, kind="float32"):
    images = PIXELS.astype(kind)
    images[2, 5, 7, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (changed(np.nan), "row 3: image holds NaN. Received: float32 array"),
        (changed(np.inf), "row 3: image holds values outside 0 to 255: 0.0 to inf"),
        (changed(-np.inf), "row 3: image holds values outside 0 to 255: -inf to 255.0"),
        (changed(np.nan, "float16"), "row 3: image holds NaN. Received: float16"),
        (changed(0.5, "float64"), "row 3: image holds fractions"),
        (changed(300), "row 3: image holds values outside 0 to 255: 0.0 to 300.0"),
        (changed(-1, "int32"), "row 3: image holds values outside 0 to 255: -1 to 255"),
        (changed(0, "complex64"), "row 1: image does not hold numbers"),
        (changed(0, "bool"), "row 1: image does not hold numbers"),
        (PIXELS / 255, "row 4: image has no pixel above 1, but 0 to 255 is expected: multiply by 255"),
        (changed(np.nan) / 255, "row 3: image holds NaN"),
        (PIXELS / 127.5 - 1, "row 1: image holds values outside 0 to 255: -1.0 to 1.0"),
        (PIXELS[:, :0], "row 1: image is empty"),
        (PIXELS[..., :2], "row 1: image has 2 channels"),
    ],
)
def test_arrays_of_images(nothing_loads, images, message):
    with pytest.raises(UserError) as error:
        FineTuner("image_classification", "x").fit((images, [0, 1, 0, 1]))
    assert message in str(error.value), error.value


HANDLED = {
    "imbalance of 1 to 1,000": ({}, ["rare"] * 2 + ["common"] * 1998, {}, None),
    "a class without examples": ({"labels": ["a", "b", "c"]}, ["a", "b"] * 2, {}, "label 'c' is that of no example"),
    "one class, labels given": (GIVEN, ["no"] * 4, {}, "label 'no' is that of every example"),
    "whole floats": ({}, [1.0, -1.0] * 2, {}, None),
    "bools": ({}, [True, False] * 2, {}, None),
    "rows without labels": (MULTI, [["a"], ["b"], [], "|", ["a", "b"]], {}, None),
    "a label that all rows have": (MULTI, ["a|b", "a", "a"], {}, "label 'a' is that of every example"),
    "bad ones left out": (GIVEN, ["no", "yes", 7, None, "yes", "no", np.nan, -1], {"max_bad_rows": 0.5}, "4 of 8 rows"),
}


@pytest.mark.parametrize("name", HANDLED)
def test_labels_that_are_handled_with_a_finite_loss(make_tiny, name, tmp_path):
    arguments, labels, options, warning = HANDLED[name]
    tuner = FineTuner("text_classification", make_tiny("bert"), precision="float32", **arguments)
    with pytest.warns(DataWarning, match=warning) if warning else pytest.MonkeyPatch.context():
        history = tuner.fit(rows_of(labels), epochs=1, batch_size=500, directory=tmp_path / "run", **options)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight.numpy()).all() for weight in tuner.model.weights)


def test_one_sided():
    assert one_sided(np.array([0, 1, 1], "int32"), ["a", "b"]) == []
    assert one_sided(np.array([0, 0], "int32"), ["a", "b"]) == [
        "label 'a' is that of every example. Received: 100% of 2",
        "label 'b' is that of no example. Received: 0% of 2",
    ]
    targets = np.array([[1, 0, 1], [1, 0, 0]], "float32")
    assert [line.split(".")[0] for line in one_sided(targets, ["a", "b", "c"])] == [
        "label 'a' is that of every example",
        "label 'b' is that of no example",
    ]
