"""Texts in words, their tags, and spans of characters, as tables hold them."""

import contextlib
import json

import numpy as np

from kerasft.pipeline._problems import brief, is_missing, row_problems
from kerasft.pipeline._texts import NO_LIST, has_brackets, text_problem, written_list

SPAN = ("start", "end")
KEYS = (*SPAN, "label")


def as_list(value):
    """Returns the items of a cell: of a list or an array, of a string that is a list, or of words with blanks.

    None if it is nothing of that, such as a string that has a list's brackets and is none.
    """
    if isinstance(value, str):
        value = written_list(value) if has_brackets(value) else value.split()
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else None


def tag_names(labels):
    """Returns the names of tags by how data may write them: as they are, or as their numbers if none is a number."""
    labels = [] if labels is None else labels
    numbers = {} if any(label.isdecimal() for label in labels) else {str(n): label for n, label in enumerate(labels)}
    return {**numbers, **{label: label for label in labels}}


def token_problems(frame, column):
    """Returns a `Problem` for each row of `column` that is no list of words."""
    return row_problems(frame, column, map(_token_problem, frame[column]))


def tag_problems(frame, column, tokens, labels=None):
    """Returns a `Problem` for each row whose tags are not as many as its tokens, or not among `labels`, if given."""
    pairs = zip(frame[column], frame[tokens], strict=True)
    return row_problems(frame, column, (_tag_problem(*pair, tokens, labels) for pair in pairs))


def span_problems(frame, column, text, labels=None):
    """Returns a `Problem` for each row whose spans are no spans of its text, or are not of `labels`, if given."""
    pairs = zip(frame[column], frame[text], strict=True)
    return row_problems(frame, column, (_span_problem(*pair, labels) for pair in pairs))


def _token_problem(value):
    words = None if is_missing(value) else as_list(value)
    if words is None:
        return _no_list(value, "words")
    if not words:
        return "is empty"
    wrong = [word for word in words if text_problem(word)]
    return f"holds {brief(wrong[0])}, which is no word" if wrong else None


def _tag_problem(value, tokens, column, labels):
    tags, tokens = None if is_missing(value) else as_list(value), as_list(tokens)
    if tags is None:
        return _no_list(value, "tags")
    if len(tags) != len(tokens):
        return f"has {len(tags)} tags for {len(tokens)} {column}"
    names = tag_names(labels)
    wrong = [tag for tag in tags if is_missing(tag) or (labels and str(tag) not in names)]
    return _unknown(wrong[0], labels) if wrong else None


def _no_list(value, what):
    if is_missing(value):
        return "is missing"
    return NO_LIST if isinstance(value, str) else f"is not a list of {what}"


def _span_problem(value, text, labels):
    spans = as_list(value) if not is_missing(value) else None
    if spans is None or not all(isinstance(span, dict) and all(key in span for key in KEYS) for span in spans):
        return "is missing" if is_missing(value) else "is not a list of {start: …, end: …, label: …}"
    for span in spans:
        begin, end = span["start"], span["end"]
        problem = _place_problem(begin, end, text)
        if problem:
            return problem
        if is_missing(span["label"]) or not str(span["label"]).strip():
            return f"has a span from {begin} to {end} whose label is missing"
        if labels and f"B-{span['label']}" not in labels:
            return _unknown(span["label"], [label[2:] for label in labels if label.startswith("B-")])
    ordered = sorted((span["start"], span["end"]) for span in spans)
    crossing = next(((a, b) for a, b in zip(ordered, ordered[1:], strict=False) if b[0] < a[1]), None)
    return None if crossing is None else f"has spans that overlap, {crossing[0]} and {crossing[1]}"


def as_span(value):
    """Returns a cell of one span as a dict of `start`, `end` and, if it has a kind, `label`; None if it is none.

    Given as such a dict, as a pair of start and end, or as a string, `"3:9"`, `"3:9:PER"` or JSON of those.
    """
    if isinstance(value, str):
        value = _from_string(value.strip())
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) == len(SPAN):
        value = dict(zip(SPAN, value, strict=True))
    if not isinstance(value, dict) or not all(isinstance(value.get(key), (int, np.integer)) for key in SPAN):
        return None
    label = {} if is_missing(value.get("label")) else {"label": str(value["label"])}
    return {**{key: int(value[key]) for key in SPAN}, **label}


def _from_string(value):
    if value.startswith(("{", "[")):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    begin, _, rest = value.partition(":")
    end, _, label = rest.partition(":")
    if not (begin.isdecimal() and end.isdecimal()):
        return None
    return {"start": int(begin), "end": int(end), **({"label": label} if label else {})}


def span_pair_problems(frame, columns, text, with_kinds=False):
    """Returns a `Problem` for each row of which one of two columns is no span of its text, or whose spans overlap."""
    problems, texts = [], frame[text].tolist()
    spans = {column: [as_span(value) for value in frame[column]] for column in columns}
    for column, found in spans.items():
        cells = zip(found, frame[column], texts, strict=True)
        problems += row_problems(frame, column, (_lone_span_problem(*cell, with_kinds) for cell in cells))
    first, second = columns
    pairs = zip(spans[first], spans[second], strict=True)
    return problems + row_problems(frame, second, (_crossing(*pair, first) for pair in pairs))


def _lone_span_problem(span, value, text, with_kinds):
    if span is None:
        return "is missing" if is_missing(value) else "is not {start: …, end: …}, two whole numbers"
    if with_kinds and "label" not in span:
        return "has no label, as the spans that were learned from have"
    return _place_problem(span["start"], span["end"], text)


def _crossing(first, second, name):
    if first is None or second is None or first["start"] >= second["end"] or second["start"] >= first["end"]:
        return None
    return f"overlaps with the {name}"


def _unknown(name, labels):
    return f"{brief(name)} is not one of the labels. The labels are: {', '.join(map(str, labels or ()))}"


def _place_problem(begin, end, text):
    if not (isinstance(begin, (int, np.integer)) and isinstance(end, (int, np.integer)) and 0 <= begin < end):
        return f"has a span from {begin!r} to {end!r}, which are no places of characters"
    if end > len(text):
        return f"has a span to character {end}, outside of the text of {len(text)}"
    return None if text[begin:end].strip() else f"has a span of blanks, {begin} to {end}"


def as_answers(value):
    """Returns a cell of answers as a list of dicts of `text` and `start`, or None if it is nothing of that.

    Given as such a list, or as `{"text": [texts], "answer_start": [places]}`, two lists of one length.
    """
    if isinstance(value, dict) and set(value) >= {"text", "answer_start"}:
        parts = value["text"], value["answer_start"]
        if not all(isinstance(part, (list, tuple, np.ndarray)) for part in parts) or len(set(map(len, parts))) > 1:
            return None
        value = [{"text": text, "start": start} for text, start in zip(*parts, strict=True)]
    found = as_list(value) if isinstance(value, (list, tuple, np.ndarray, str)) else None
    if found is None or not all(isinstance(answer, dict) and {"text", "start"} <= set(answer) for answer in found):
        return None
    return found


def answer_problems(frame, column, context):
    """Returns a `Problem` for each row whose answers are not in its context where they say."""
    pairs = zip(frame[column], frame[context], strict=True)
    return row_problems(frame, column, (_answer_problem(*pair) for pair in pairs))


def _answer_problem(value, context):
    answers = as_answers(value)
    if answers is None:
        form = "a list of {text: …, start: …} or {text: […], answer_start: […]} of equal lengths"
        return "is missing" if is_missing(value) else f"is not {form}"
    for answer in answers:
        text, start = answer["text"], answer["start"]
        if not isinstance(text, str) or not text.strip():
            return f"has an answer without text, {brief(text)}"
        if not isinstance(start, (int, np.integer)) or context[start : start + len(text)] != text or start < 0:
            there = [place for place in range(len(context)) if context.startswith(text, place)]
            where = f"; it is at {there[0]}" if there else ", nor anywhere in it"
            return f"has the answer {brief(text)}, which is not in the context at {start!r}{where}"
    return None
