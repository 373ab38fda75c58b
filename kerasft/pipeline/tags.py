"""Tags of words, and the spans that they stand for.

A tag is `O`, outside of any span, or a letter and a type, such as `B-PER`: `B` begins a span and `I` goes on with it
(IOB2); where spans of one type seldom touch, `I` also begins one (IOB1); `E` or `L` ends it and `S` or `U` is one of a
single word (BIOES, BILOU). Or no tag has a letter, and each is the type of its word.
Source: Ramshaw & Marcus 1995, https://arxiv.org/abs/cmp-lg/9505040.
"""

import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

OUTSIDE = "O"
TAG = re.compile(r"([BIESLU])-(.+)")


class Scheme:
    """What the tags of a model mean together, as tables by their numbers.

    Tags without letters, such as parts of speech, make each word a span of its own, but for `O`.

    Args:
        tags: sequence of str, the model's labels.

    Attributes:
        types: list of str. Of spans, in order.
        type_of: `(tags,)` int32. Number of each tag's type; -1 outside.
        begins: `(tags + 1, tags)` bool. Whether a span begins at the second tag, after the first; the last row is for
            the first word of a text. Any sequence has spans, also one that breaks the rules: a word goes on with the
            span before if it has its type and the letter `I`, `E` or `L`, and the word before did not end it. As
            seqeval does by default (https://github.com/chakki-works/seqeval).
    """

    def __init__(self, tags):
        letters = are_spans(tags)
        parts = [_parts(tag) if letters or tag == OUTSIDE else ("S", tag) for tag in tags]
        self.types = sorted({kind for _, kind in parts if kind is not None})
        self.type_of = np.array([-1 if kind is None else self.types.index(kind) for _, kind in parts], "int32")
        self.begins = np.array([[_begins(before, part) for part in parts] for before in [*parts, (OUTSIDE, None)]])

    def spans(self, numbers, splits):
        """Returns `Spans` of texts whose tags have these numbers.

        Args:
            numbers: `(words,)` int, of all texts one after the other. splits: `(texts + 1,)` int.
        """
        numbers, splits = np.asarray(numbers, int), np.asarray(splits, int)
        before = np.concatenate([[-1], numbers[:-1]])[: len(numbers)]
        before[splits[:-1][splits[:-1] < splits[1:]]] = -1
        begins, inside = self.begins[before, numbers], self.type_of[numbers] >= 0
        first = np.flatnonzero(begins)
        last = np.flatnonzero(inside & ~np.concatenate([(inside & ~begins)[1:], [False]])[: len(numbers)])
        return Spans(np.searchsorted(splits, first, "right") - 1, first, last + 1, self.type_of[numbers[first]])


class Spans(NamedTuple):
    """Words `start` to `end`, not included, counted over all texts; each an int array with one entry a span."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    type: np.ndarray


def spans_at(scheme, tags, rows):
    """Returns for each word, as TensorFlow ops, whether a span begins there, its type, and the last word of its span.

    Args:
        scheme: Scheme.
        tags: `(words,)` int32, of all texts one after the other. rows: `(words,)` int, the text of each.
    """
    outside = tf.constant([len(scheme.type_of)])  # Before the first word of a text.
    before = tf.where(rows == tf.roll(rows, 1, 0), tf.roll(tags, 1, 0), outside)
    before = tf.concat([outside[: tf.size(tags)], before[1:]], 0)  # There may be but one text.
    begins = tf.gather_nd(tf.constant(scheme.begins), tf.stack([before, tags], 1))
    types = tf.gather(tf.constant(scheme.type_of), tags)
    number, words = tf.cumsum(tf.cast(begins, "int32")), tf.range(tf.size(tags))
    ends = tf.math.unsorted_segment_max(tf.where(types >= 0, words, -1), number, tf.size(tags) + 1)
    return begins, types, tf.gather(ends, number)


def are_spans(tags):
    """Returns whether these tags mark spans; otherwise each is a label of its word alone, as parts of speech are."""
    return all(tag == OUTSIDE or TAG.fullmatch(tag) for tag in tags) and any(tag != OUTSIDE for tag in tags)


def problem(tags):
    """Returns what is wrong with tags if some have a letter and others, but for `O`, none that is known; or None."""
    plain = [tag for tag in tags if tag != OUTSIDE and not TAG.fullmatch(tag)]
    others = [tag for tag in tags if TAG.fullmatch(tag)]
    if not (plain and others):
        return None
    return (
        "Tags must be O, or a letter and a type as in IOB1 and IOB2 (B-, I-), BIOES (B-, I-, E-, S-) or BILOU (B-, I-, "
        f"L-, U-); or none may have a letter. Received: {plain[0]!r} beside {others[0]!r}"
    )


def completed(found):
    """Returns these tags in order, `O` first, and with them each letter of one type for all types.

    A small set of examples may have no organisation of two words, which is no reason to never predict one.
    """
    if are_spans(found):
        letters, types = zip(*(TAG.fullmatch(tag).groups() for tag in found if tag != OUTSIDE), strict=True)
        found = {tag for tag in found if tag == OUTSIDE} | {f"{a}-{kind}" for a in letters for kind in types}
    return sorted(found, key=lambda tag: (tag != OUTSIDE, tag))


def from_spans(found, length):
    """Returns the IOB2 tags of so many words, of which these `(start, end, type)` do not overlap."""
    tags = [OUTSIDE] * length
    for start, end, kind in found:
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tags


def named(spans, types, frame):
    """Returns for each text of a frame the list of its spans as dicts of `label` and `text`.

    Args:
        spans: Spans. types: list of str.
        frame: pandas.DataFrame with `text`, `starts` and `ends` of the words.
    """
    found = [[] for _ in range(len(frame))]
    texts, starts, ends = (frame[name].tolist() for name in ("text", "starts", "ends"))
    before = np.cumsum([0, *map(len, starts)])
    for row, start, end, kind in zip(*spans, strict=True):
        first, last = starts[row][start - before[row]], ends[row][end - 1 - before[row]]
        found[row].append({"label": types[kind], "text": texts[row][first:last]})
    return found


def _parts(tag):
    match = TAG.fullmatch(tag)
    return match.groups() if match else (OUTSIDE, None)


def _begins(before, part):
    (letter, kind), (letter_before, kind_before) = part, before
    goes_on = letter in "IEL" and letter_before in "BI" and kind == kind_before
    return kind is not None and not goes_on
