import random

import numpy as np
import pytest

from kerasft.pipeline import tags

LABELS = ["O", *(f"{letter}-{kind}" for letter in "BIESLU" for kind in ("A", "B", "A-B"))]


def spans(given, splits=None):
    """Returns `(start, end, type)` of the spans of names of tags."""
    scheme = tags.Scheme(LABELS)
    numbers = [LABELS.index(tag) for tag in given]
    found = scheme.spans(numbers, [0, len(numbers)] if splits is None else splits)
    return [(int(start), int(end), scheme.types[kind]) for _, start, end, kind in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("O B-A I-A O", [(1, 3, "A")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("I-A I-A B-A I-B", [(0, 2, "A"), (2, 3, "A"), (3, 4, "B")]),  # IOB1, and another type.
        ("B-A E-A S-A B-A I-A E-A I-A", [(0, 2, "A"), (2, 3, "A"), (3, 6, "A"), (6, 7, "A")]),
        ("U-A B-A L-A", [(0, 1, "A"), (1, 3, "A")]),
        ("E-A E-A", [(0, 1, "A"), (1, 2, "A")]),
        ("O I-A O I-A", [(1, 2, "A"), (3, 4, "A")]),
        ("B-A-B I-A-B", [(0, 2, "A-B")]),
        ("", []),
    ],
)
def test_spans_of_all_schemes_and_of_broken_sequences(given, expected):
    assert spans(given.split()) == expected


def test_spans_come_back_out_of_their_tags():
    chance = random.Random(0)
    for _ in range(200):
        length = chance.randrange(12)
        found = spans([chance.choice(["O", "B-A", "I-A", "B-B", "I-B", "E-A", "S-B"]) for _ in range(length)])
        assert spans(tags.from_spans(found, length)) == found


def test_no_span_goes_from_text_to_text():
    scheme = tags.Scheme(["O", "B-X", "I-X"])
    found = scheme.spans([1, 2, 2, 2, 0, 1], [0, 0, 2, 2, 4, 6, 6])
    assert [array.tolist() for array in found] == [[1, 3, 4], [0, 2, 5], [2, 4, 6], [0, 0, 0]]


def test_tags_without_letters_label_every_word():
    scheme = tags.Scheme(["ADJ", "NOUN", "VERB"])
    assert scheme.types == ["ADJ", "NOUN", "VERB"]
    found = scheme.spans([0, 0, 1], [0, 3])
    np.testing.assert_array_equal(found, [[0, 0, 0], [0, 1, 2], [1, 2, 3], [0, 0, 1]])


def test_o_is_outside_among_tags_without_letters():
    scheme = tags.Scheme(["O", "PER", "LOC"])
    assert scheme.types == ["LOC", "PER"]
    found = scheme.spans([0, 1, 1, 0, 2], [0, 5])
    np.testing.assert_array_equal(found, [[0, 0, 0], [1, 2, 4], [2, 3, 5], [1, 1, 0]])
    assert all(len(part) == 0 for part in scheme.spans([0, 0], [0, 2]))


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ("O B-PER M-PER", "'M-PER' beside 'B-PER'"),
        ("B-PER O B-", "'B-' beside 'B-PER'"),
        ("NOUN I-A", "'NOUN' beside 'I-A'"),
    ],
)
def test_tags_with_and_without_known_letters_do_not_go_together(given, received):
    assert tags.problem(given.split()).endswith(f"Received: {received}")


@pytest.mark.parametrize("given", ["O B-A E-A", "NOUN VERB", "O PER", "O M-PER", "O", ""])
def test_tags_that_go_together(given):
    assert tags.problem(given.split()) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [("O B-A", True), ("NOUN VERB", False), ("O O", False), ("B-A NOUN", False), ("X-A", False), ("O I-", False)],
)
def test_which_tags_mark_spans(given, expected):
    assert tags.are_spans(given.split()) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("B-A O B-C I-C", "O B-A B-C I-A I-C"),
        ("I-A B-C O", "O B-A B-C I-A I-C"),
        ("S-A E-C B-C O", "O B-A B-C E-A E-C S-A S-C"),
        ("B-A B-C O", "O B-A B-C"),
        ("VERB NOUN", "NOUN VERB"),
    ],
)
def test_what_one_type_has_all_types_have(found, expected):
    assert tags.completed(set(found.split())) == expected.split()
