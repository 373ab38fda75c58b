import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kerasft.data.base import as_examples
from kerasft.errors import UserError
from kerasft.pipeline.split import folds, split


def table(text, label=None):
    columns = {"text": pd.Series(list(text), dtype=object)}
    if label is not None:
        columns["label"] = pd.Series(list(label), dtype=object)
    return as_examples(pd.DataFrame(columns), "reviews.csv")


def numbered(count):
    return [f"text {number}" for number in range(count)]


def test_shares_of_each_class():
    label = np.random.default_rng(1).permutation(["a"] * 100 + ["b"] * 50 + ["c"] * 10)
    train, validation = split(table(numbered(160), label), 0.2, seed=0, label="label")
    assert validation["label"].value_counts().to_dict() == {"a": 20, "b": 10, "c": 2}
    assert train["label"].value_counts().to_dict() == {"a": 80, "b": 40, "c": 8}


def test_order_rows_and_origin_are_kept():
    frame = table(numbered(30))
    train, validation = split(frame, 0.3, seed=3)
    assert len(validation) == 9
    for side in (train, validation):
        assert side.index.tolist() == sorted(side.index) and side.attrs == {"origin": "reviews.csv"}
        assert side["text"].tolist() == frame.loc[side.index, "text"].tolist()
    assert sorted([*train.index, *validation.index]) == frame.index.tolist()


def test_the_seed_decides():
    frame = table(numbered(100), ["a", "b"] * 50)
    rows = [split(frame, 0.1, seed, "label")[1].index.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_rows_of_equal_content_stay_together():
    text = [f"text {number % 20} " if number % 2 else f"text {number % 20}" for number in range(100)]
    train, validation = split(table(text), 0.3, seed=0, content=["text"])
    assert not {text.strip() for text in train["text"]} & {text.strip() for text in validation["text"]}
    assert len(validation) == 30  # 6 of the 20 texts, each there 5 times.


def test_a_text_much_repeated_does_not_fill_the_validation_side():
    text, label = ["same"] * 90 + numbered(10), ["a"] * 100
    _, validation = split(table(text, label), 0.1, seed=0, label="label", content=["text"])
    assert len(validation) == 10 and "same" not in set(validation["text"])


def test_images_of_equal_pixels_stay_together():
    images = [np.full((2, 2), number // 2, np.uint8) for number in range(20)]
    column = np.empty(20, dtype=object)
    column[:] = images
    frame = as_examples(pd.DataFrame({"image": column}), "(x, y)")
    train, validation = split(frame, 0.2, seed=0, content=["image"])
    assert len(validation) == 4
    assert not {image[0, 0] for image in train["image"]} & {image[0, 0] for image in validation["image"]}


@pytest.mark.parametrize(
    "text, label",
    [
        (numbered(5), ["a", "a", "a", "a", "lonely"]),
        (["x", "y", "z", "same", " same"], ["a", "a", "a", "lonely", "lonely"]),
    ],
)
def test_class_that_cannot_be_on_both_sides_is_named(text, label):
    with pytest.raises(
        UserError, match="reviews.csv has too few different examples of the class 'lonely'.*Received: 5 rows"
    ):
        split(table(text, label), 0.5, seed=0, label="label", content=["text"])


def test_a_text_of_two_classes_counts_for_the_rarer():
    text, label = ["p", "p", "q", "q", *numbered(20)], ["common", "rare", "common", "rare", *["common"] * 20]
    train, validation = split(table(text, label), 0.1, seed=0, label="label", content=["text"])
    assert (train["label"] == "rare").sum() == (validation["label"] == "rare").sum() == 1


def test_most_of_a_class_can_be_held_back_but_not_all():
    _, validation = split(table(numbered(10), ["a", "b"] * 5), 0.99, seed=0, label="label")
    assert validation["label"].value_counts().to_dict() == {"a": 4, "b": 4}


def test_a_single_row_cannot_be_split():
    with pytest.raises(UserError, match="too few different examples to train and to validate.*Received: 1 rows"):
        split(table(["a"]), 0.5, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), True, "0.1", None])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(UserError, match="above 0 and below 1. Received: "):
        split(table(numbered(10)), fraction, seed=0)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(["x", "y", 1, None])), min_size=2, max_size=60
    ),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
    by_class=st.booleans(),
    by_content=st.booleans(),
)
def test_any_split_keeps_its_promises(rows, fraction, seed, by_class, by_content):
    text, label = zip(*rows, strict=True)
    frame = table(text, label)
    arguments = {"label": "label" if by_class else None, "content": ["text"] if by_content else []}
    different = {name: set() for name in (set(label) if by_class else {"all"})}
    for row, (one_text, one_label) in enumerate(rows):
        different[one_label if by_class else "all"].add(one_text if by_content else row)
    is_possible = all(len(examples) > 1 for examples in different.values())
    disagree = by_class and by_content and len(set(rows)) > len(set(text))
    try:
        train, validation = split(frame, fraction, seed, **arguments)
    except UserError:
        assert disagree or not is_possible
        return
    assert is_possible
    assert sorted([*train.index, *validation.index]) == frame.index.tolist()
    assert train.index.is_monotonic_increasing and validation.index.is_monotonic_increasing
    assert len(train) and len(validation)
    if by_class:
        assert set(train["label"]) == set(validation["label"]) == set(label)
    if by_content:
        assert not set(train["text"]) & set(validation["text"])
    if by_class and not by_content:
        for name in set(label):
            count, held_back = label.count(name), (validation["label"].map(lambda value, n=name: value == n)).sum()
            assert held_back == min(max(1, round(fraction * count)), count - 1)


@given(st.integers(2, 50), st.integers(0, 100))
def test_without_classes_or_content_the_share_is_exact(count, seed):
    fraction = 0.3
    assume(round(fraction * count) < count)
    assert len(split(table(numbered(count)), fraction, seed)[1]) == max(1, round(fraction * count))


def test_a_hundred_thousand_rows():
    frame = table([f"text {number // 3}" for number in range(100_000)], list("abcdefghij") * 10_000)
    train, validation = split(frame, 0.1, seed=0, label="label", content=["text"])
    assert len(validation) == pytest.approx(10_000, rel=0.02)
    assert not set(train["text"]) & set(validation["text"])


# === folds ===


def test_each_row_is_held_back_once_and_each_fold_has_its_share_of_every_class():
    frame = table(numbered(24), ["a", "b", "b"] * 8)
    parts = folds(frame, 4, seed=0, label="label")
    assert sorted(index for _, validation in parts for index in validation.index) == frame.index.tolist()
    for train, validation in parts:
        assert validation["label"].value_counts().to_dict() == {"a": 2, "b": 4}
        assert sorted([*train.index, *validation.index]) == frame.index.tolist()
        assert validation.attrs == {"origin": "reviews.csv"}
    assert [list(v.index) for _, v in folds(frame, 4, seed=1, label="label")] != [list(v.index) for _, v in parts]


def test_rows_of_equal_content_are_in_one_fold():
    frame = table([f"text {number // 2}" for number in range(20)], ["a", "a", "b", "b"] * 5)
    for train, validation in folds(frame, 5, seed=0, label="label", content=["text"]):
        assert not set(train["text"]) & set(validation["text"])


def test_folds_without_classes():
    parts = folds(table(numbered(10)), 3, seed=0)
    assert sorted(len(validation) for _, validation in parts) == [3, 3, 4]


def test_more_folds_than_different_examples_of_a_class_are_refused():
    frame = table(["x", "x", *numbered(6)], ["a", "a", "a", *"bbbbb"])
    with pytest.raises(UserError, match="of the class 'a' for 3 folds. Received: 2"):
        folds(frame, 3, seed=0, label="label", content=["text"])
    with pytest.raises(UserError, match="folds must be a whole number, 2 or more. Received: folds=1"):
        folds(frame, 1, seed=0)
