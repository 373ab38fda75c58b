"""A label for each word of a text: named entities and other spans, or parts of speech."""

from typing import ClassVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft import registry
from kerasft.errors import UserError
from kerasft.pipeline import clean, tags, words
from kerasft.tasks._head import ChainHead, TokenHead
from kerasft.tasks._text import EDGE_CASES, TextInputs, check_sequence_length, text_preprocessor


class TokenClassification(TextInputs):
    """Finds spans in texts and says what they are: names, dates, doses; or labels every word.

    Data are words with a tag each (`tokens`, `tags`), in any of the schemes IOB1, IOB2, BIOES and BILOU, or whole texts
    with spans (`text`, `spans`), each `{"start": …, "end": …, "label": …}` in characters. Tags without letters, as
    parts of speech have, make each word a span of its own, but for `O`. Texts longer than the model reads are cut into
    overlapping windows.

    Args:
        labels: list of str or None. The tags in order; learned from the training data if None.
        crf: bool. Whether tags depend on those of their neighbours: a conditional random field as the last layer.
        sequence_length: int, 8 or more, or None. Length of a window in tokens; None is the backbone's, 512 at most.
        dropout: float. Before the last layer.
        columns: dict. The data's names for ours, such as `{"tags": "ner_tags"}`.

    Example: >>> kerasft.FineTuner(task="token_classification", backbone="bert_base_en_uncased")
    """

    evaluation: ClassVar[str] = "spans"
    monitor: ClassVar[tuple[str, str]] = ("val_f1", "max")
    inputs = ("text",)
    target: ClassVar[str] = "tags"
    has_classes: ClassVar[bool] = True
    answers_rows: ClassVar[bool] = False

    def __init__(self, labels=None, crf=False, sequence_length=None, **kwargs):
        super().__init__(**kwargs)
        if not (
            labels is None or (isinstance(labels, (list, tuple)) and len(set(map(str, labels))) == len(labels) > 1)
        ):
            raise UserError(f"labels must be two or more different tags. Received: labels={labels!r}")
        check_sequence_length(sequence_length)
        self.labels = None if labels is None else [str(label) for label in labels]
        problem = tags.problem(self.labels or ())
        if problem:
            raise UserError(problem)
        self.crf = crf
        self.sequence_length = sequence_length

    # === Data ===

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns `text`, its words as `tokens`, each with the blank before it, their `starts`, `ends` and `tags`."""
        if not with_targets and {"starts", "ends"} <= set(frame):  # It was here before.
            return frame
        has_text = self.columns.get("spans", "spans") in frame
        if not with_targets:
            has_text = not {"tokens", self.columns.get("tokens")} & set(frame)
        given, target = ("text", "spans") if has_text else ("tokens", "tags")
        columns = {ours: theirs for ours, theirs in self.columns.items() if with_targets or theirs in frame}
        frame = clean.choose_columns(frame, {given: True, **({target: True} if with_targets else {})}, columns)
        check = clean.text_problems if has_text else clean.token_problems
        problems, labels = check(frame, given), self.labels
        if with_targets:
            check = clean.span_problems if has_text else clean.tag_problems
            usable = clean.without(frame, problems)
            labels = labels or self._inferred(clean.without(usable, check(usable, target, given)), problems)
            problems += check(usable, target, given, labels)
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        self.labels = labels  # Not before: a table that is refused must not leave its labels behind.
        return _in_words(frame) if has_text else _joined(frame, labels)

    def _inferred(self, frame, problems):
        """Returns the tags that occur, `O` first, and those that complete them. None if there are no such rows."""
        if not len(frame):
            return None
        if "spans" in frame:
            kinds = sorted({str(span["label"]) for row in frame["spans"] for span in clean.as_list(row)})
            labels = [f"{letter}-{kind}" for kind in kinds for letter in "BI"]
            labels = [tags.OUTSIDE, *labels] if labels else []
        else:
            labels = tags.completed({str(tag) for row in frame["tags"] for tag in clean.as_list(row)})
        error = tags.problem(labels)
        if len(labels) < 2:
            error = (
                f"There is nothing to learn: every word has the same tag. Received: {', '.join(labels) or 'no spans'}"
            )
        if error:
            clean.refuse([error, *problems], f"{clean.origin(frame)} cannot be used")
        return labels

    def oddities(self, frame):
        found = [(clean.conflicting(frame, ["text"], "tags"), "the same text with different tags")]
        if "spans" in frame:
            found.append((_widened(frame), "spans that begin or end within a word, which is taken as a whole"))
        return found

    @property
    def learned(self):
        return {} if self.labels is None else {"labels": self.labels}

    def check_learned(self):
        if self.labels is None:
            raise UserError("The tags are not known yet: give labels=[…], or call fit first. Received: labels=None")

    @property
    def num_classes(self):
        """Number of tags."""
        self.check_learned()
        return len(self.labels or ())

    def targets(self, frame):
        """Returns `(words,)` int32 numbers of the tags of all texts, one after the other."""
        numbers = {label: number for number, label in enumerate(self.labels or ())}
        return np.array([numbers[tag] for row in frame["tags"] for tag in row], "int32")

    def shown(self, frame):
        """Returns `text` and `entities`, lists of dicts of `label` and `text`."""
        scheme, splits = tags.Scheme(self.labels), np.cumsum([0, *map(len, frame["tags"])])
        found = tags.named(scheme.spans(self.targets(frame), splits), scheme.types, frame)
        return frame[["text"]].assign(entities=pd.Series(found, index=frame.index, dtype=object))

    def frame_of(self, inputs):
        """Returns a frame of whole texts, or of lists of words."""
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        are_texts = all(isinstance(row, str) for row in inputs)
        frame = pd.DataFrame({"text" if are_texts else "tokens": pd.Series(inputs, dtype=object)})
        frame.index = range(1, len(inputs) + 1)
        frame.attrs["origin"] = "inputs"
        return frame

    # === Model ===

    def preprocessor(self, pretrained):
        return text_preprocessor(pretrained, self.sequence_length, words.WordPreprocessor)

    def examples(self, frame, preprocessor, with_targets=True):
        made = words.tokenize(preprocessor, frame["tokens"].tolist())
        made.targets = self.targets(frame) if with_targets else None
        return made

    def head(self, pretrained):
        return (ChainHead if self.crf else TokenHead)(self.num_classes, self.dropout)

    def loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self):
        return [
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            registry.find("metrics", "span_f1")(self.labels),
        ]

    # === Answers ===

    def serve(self, model, preprocessor, text):
        found, starts, ends = words.split(text)
        rows, places = preprocessor.windows(found)
        outputs = tf.gather_nd(model(preprocessor.dense(rows), training=False), places.words[:, :2])
        return self.decode(found.with_values(outputs), text, starts, ends)

    def decoded(self, outputs, frame):
        starts, ends = (words.ragged(frame[name], "int64") for name in ("starts", "ends"))
        return self.decode(outputs, tf.constant(frame["text"].tolist()), starts, ends)

    def decode(self, outputs, text, starts, ends):
        """Returns `label`, `text`, `start`, `end` and `score` of the spans, each `(batch, most)`.

        Places are in characters, the end not included; the score is the mean probability of the span's tags. Texts
        with fewer spans than the one with most are filled up with empty strings, -1 and 0.

        Args:
            outputs: ragged `(batch, None, tags)`. text: `(batch,)` strings.
            starts, ends: ragged `(batch, None)` int64, of the words, in characters.
        """
        scheme, rows = tags.Scheme(self.labels), outputs.value_rowids()
        chances = tf.nn.softmax(outputs.flat_values)
        begins, types, last = tags.spans_at(scheme, tf.argmax(chances, -1, "int32"), rows)
        number, inside = tf.cumsum(tf.cast(begins, "int32")) - 1, types >= 0
        score = tf.math.segment_mean(tf.reduce_max(chances, -1)[inside], number[inside])
        rows, start, end = rows[begins], starts.flat_values[begins], tf.gather(ends.flat_values, last[begins])
        found = {
            "label": (tf.gather(tf.constant(scheme.types), types[begins]), ""),
            "text": (words.cut(text, rows, start, end), ""),
            "start": (tf.cast(start, "int32"), -1),
            "end": (tf.cast(end, "int32"), -1),
            "score": (score, 0.0),
        }
        count = outputs.nrows()
        return {
            name: tf.RaggedTensor.from_value_rowids(values, rows, count).to_tensor(filler)
            for name, (values, filler) in found.items()
        }

    def answers(self, decoded):
        """Returns `entities`, for each text a list of dicts of `label`, `text`, `start`, `end` and `score`."""
        columns = {name: values.numpy().tolist() for name, values in decoded.items()}
        found = np.empty(len(columns["label"]), dtype=object)
        for row, spans_of_row in enumerate(zip(*columns.values(), strict=True)):
            dicts = [dict(zip(columns, values, strict=True)) for values in zip(*spans_of_row, strict=True)]
            found[row] = [_readable(span) for span in dicts if span["end"] >= 0]
        return {"entities": found}

    def served(self, frame):
        return self.prepare(self.frame_of(frame["text"].tolist()), with_targets=False)

    def edge_cases(self):
        return self.served(pd.DataFrame({"text": EDGE_CASES}))

    def evaluation_arguments(self):
        return {"labels": self.labels}

    def get_config(self):
        own = ("labels", "crf", "sequence_length")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _joined(frame, labels):
    """Returns a frame of words with the texts that they make with a blank between two."""
    rows = [[word.strip() for word in clean.as_list(value)] for value in frame["tokens"]]
    ends = [np.cumsum([len(word) + 1 for word in row]) - 1 for row in rows]
    starts = [end - [len(word) for word in row] for end, row in zip(ends, rows, strict=True)]
    made = {"text": [" ".join(row) for row in rows], "tokens": [[f" {word}" for word in row] for row in rows]}
    made |= {"starts": [row.tolist() for row in starts], "ends": [row.tolist() for row in ends]}
    if "tags" in frame:
        names = clean.tag_names(labels)
        made["tags"] = [[names[str(tag)] for tag in clean.as_list(value)] for value in frame["tags"]]
    return _frame(made, frame)


def _in_words(frame):
    """Returns a frame of texts with their words, and tags of the words that spans touch."""
    texts = frame["text"].tolist()
    made = dict(zip(("tokens", "starts", "ends"), words.in_words(texts), strict=True))
    if "spans" in frame:
        made["spans"] = [clean.as_list(row) for row in frame["spans"]]
        places = zip(made["spans"], made["starts"], made["ends"], strict=True)
        made["tags"] = [_tags(*row) for row in places]
    return _frame({"text": texts, **made}, frame)


def _frame(columns, like):
    made = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    made.index = like.index
    made.attrs = dict(like.attrs)
    return made


def _tags(spans_of_row, starts, ends):
    found = sorted((*words.touched(s["start"], s["end"], starts, ends), str(s["label"])) for s in spans_of_row)
    return tags.from_spans([span for span in found if span[0] < span[1]], len(starts))


def _widened(frame):
    """Returns a message for each row with a span that does not begin and end with words."""
    origin, problems = clean.origin(frame), []
    for row, spans_of_row, starts, ends in zip(
        frame.index, frame["spans"], frame["starts"], frame["ends"], strict=True
    ):
        for span in spans_of_row:
            first, last = words.touched(span["start"], span["end"], starts, ends)
            if first < last and (starts[first], ends[last - 1]) != (span["start"], span["end"]):
                problems.append(
                    f"{origin}, row {row}: a span should be from {starts[first]} to {ends[last - 1]}. "
                    f"Received: {span['start']} to {span['end']}"
                )
    return problems


def _readable(span):
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in span.items()}
