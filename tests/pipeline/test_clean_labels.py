import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import LabelEncoder, MultiLabelBinarizer

from kerasft.data.base import as_examples
from kerasft.errors import UserError
from kerasft.pipeline.clean import infer_labels, infer_multi_labels, label_ids, multi_label_ids, multi_label_problems


def table(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return as_examples(pd.DataFrame({"label": column}), "reviews.csv")


@pytest.mark.parametrize(
    "values, labels",
    [
        (["pos", "neg", "pos"], ["neg", "pos"]),
        (["10", "9", "0", "9"], ["0", "9", "10"]),
        ([10, 9, 0, 9], ["0", "9", "10"]),
        ([1.0, -1.0, float("nan"), 1.0], ["-1", "1"]),
        (np.array([2, 1, 1], np.uint8), ["1", "2"]),
        (pd.Series([3.0, 2.0, 2.0]), ["2", "3"]),
        ([True, False, True], ["False", "True"]),
        (["b ", "a", " b", None, ""], ["a", "b"]),
        (["1", "one", "one", 1], ["1", "one"]),
        (["é", "e", "é"], ["e", "é"]),
    ],
)
def test_infer_labels(values, labels):
    assert infer_labels(values) == labels


@pytest.mark.parametrize(
    "values, words",
    [
        (["a", "a"], ["only one class, 'a'", "Received: ['a', 'a']"]),
        ([None, ""], ["every label is missing"]),
        (["a", "b", "c"], ["no label occurs twice", "right column"]),
        ([str(n) for n in range(1001)] * 2, ["1,001 different labels", "more than 1,000", "right column"]),
        ([0.5, 1.0, 0.5], ["fractions", "regression", "Received: [0.5, 1.0, 0.5]"]),
        (["3.8", "5.0", "3.8"], ["fractions", "regression"]),
        ([float("inf"), 1.0, 1.0], ["fractions"]),
        ([["a"], ["b"], ["a"]], ["multi-label", "Received: [['a']"]),
    ],
)
def test_what_does_not_look_like_classes_is_refused(values, words):
    with pytest.raises(UserError) as error:
        infer_labels(values)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_thousand_classes_and_strong_imbalance_are_fine():
    assert len(infer_labels(list(range(1000)) * 2)) == 1000
    assert infer_labels(["rare"] + ["common"] * 999) == ["common", "rare"]


def test_label_ids_equal_sklearn():
    values = np.random.default_rng(0).choice(["dog", "cat", "été", "A"], 200).tolist()
    ids = label_ids(table(values), "label", infer_labels(values))
    assert ids.dtype == np.int32 and ids.shape == (200,)
    np.testing.assert_array_equal(ids, LabelEncoder().fit_transform(values))


@pytest.mark.parametrize(
    "values, labels, ids",
    [
        ([1, 0, 1.0, "1"], ["0", "1"], [1, 0, 1, 1]),
        (["b", " a"], ["b", "a"], [0, 1]),
        (["0", 1, "positive"], ["negative", "positive"], [0, 1, 1]),
        ([5, 7], [7, 5], [1, 0]),
        ([True, False], ["False", "True"], [1, 0]),
    ],
)
def test_label_ids_follow_the_order_given(values, labels, ids):
    assert label_ids(table(values), "label", labels).tolist() == ids


def test_each_bad_label_is_listed_with_its_row():
    values = ["pos", "neg", "positve", None, float("nan"), "", "2", "-1", 0.5]
    with pytest.raises(UserError) as error:
        label_ids(table(values), "label", ["positive", "negative", "pos", "neg"])
    lines = str(error.value).split("\n")
    assert lines[0] == "reviews.csv: rows without a usable label:"
    allowed = "The labels are: positive, negative, pos, neg"
    assert lines[1] == (
        "reviews.csv, row 3: label 'positve' is not one of the labels. Did you mean 'positive'? "
        f"{allowed}. Received: 'positve'"
    )
    assert lines[2] == "reviews.csv, row 4: label is missing. Received: None"
    assert lines[3] == "reviews.csv, row 5: label is missing. Received: nan"
    assert lines[4] == "reviews.csv, row 6: label is missing. Received: ''"
    assert "row 7" not in str(error.value)  # "2" is the position of "pos".
    assert lines[5].startswith("reviews.csv, row 8: label '-1' is not one of the labels.")
    assert lines[6].startswith("reviews.csv, row 9: label '0.5' is not one of the labels.")


@pytest.mark.parametrize("value", [2, -1, "2"])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(UserError, match="row 2: label '-?[0-9]' is not one of the labels"):
        label_ids(table([0, value, 1]), "label", ["negative", "positive"])


def test_numbers_are_no_positions_where_labels_are_numbers():
    with pytest.raises(UserError, match="row 2: label '0' is not one of the labels"):
        label_ids(table([1, 0]), "label", ["1", "2"])


@pytest.mark.parametrize("labels", [["a", "a"], ["a", " a"], ["a", ""], ["a", None]])
def test_labels_must_be_distinct(labels):
    with pytest.raises(UserError, match="labels must be distinct and not empty. Received: labels="):
        label_ids(table(["a"]), "label", labels)


def test_a_hundred_thousand_bad_labels_are_told_quickly():
    frame = table([f"class number {number}" for number in range(100_000)])
    with pytest.raises(UserError, match="… and 99,980 more"):
        label_ids(frame, "label", [f"class {number}" for number in range(1000)])


MULTI = [["b", "a"], ("c",), [], np.array(["a", "c"]), {"b"}, "a|b", " c | a ", "|", "b"]
SETS = [{"a", "b"}, {"c"}, set(), {"a", "c"}, {"b"}, {"a", "b"}, {"a", "c"}, set(), {"b"}]


def test_multi_label_ids_equal_sklearn():
    labels = infer_multi_labels(MULTI)
    assert labels == ["a", "b", "c"]
    hot = multi_label_ids(table(MULTI), "label", labels)
    assert hot.dtype == np.float32
    np.testing.assert_array_equal(hot, MultiLabelBinarizer(classes=labels).fit_transform(SETS))


def test_multi_labels_that_are_lists_written_as_text():
    values = ["['a', 'b']", '["a","c"]', "[]", "[0, 'b|c']"]
    assert infer_multi_labels(values[:2]) == ["a", "b", "c"]
    hot = multi_label_ids(table(values), "label", ["a", "b", "c", "0", "b|c"])
    assert hot.tolist() == [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]


def test_multi_labels_of_numbers():
    values = [[10, 9], [9], np.array([10.0])]
    assert infer_multi_labels(values) == ["9", "10"]
    assert multi_label_ids(table(values), "label", ["9", "10"]).tolist() == [[1, 1], [1, 0], [0, 1]]


def test_bad_multi_labels_are_listed():
    with pytest.raises(UserError) as error:
        multi_label_ids(table([["a"], ["a", "bee"], None, "a|", [None]]), "label", ["a", "beer"])
    message = str(error.value)
    assert "row 2: label 'bee' is not one of the labels. Did you mean 'beer'?" in message
    assert "row 3: label is missing. Received: None" in message and "row 5: label is missing" in message
    assert "row 1:" not in message and "row 4:" not in message


def test_zeros_and_ones_do_not_pass_for_names():
    frame = table([[0, 1, 1], [1, 0, 0]])
    for labels in (None, ["a", "b", "c"]):
        first, second = map(str, multi_label_problems(frame, "label", labels))
        assert "row 1: label names a label twice. A row lists the names" in first and "row 2" in second
        assert first.endswith("Received: [0, 1, 1]")
    with pytest.raises(UserError, match="rows without a usable label(.|\n)*names a label twice"):
        multi_label_ids(frame, "label", ["a", "b", "c"])
    # Two of them repeat nothing, but then all rows have both.
    with pytest.raises(UserError, match=r"Every row has the same labels, 0, 1.*Received: \[\[0, 1\], \[1, 0\]\]"):
        infer_multi_labels([[0, 1], [1, 0]])
