"""How two parts of a text are related."""

import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean, text, words
from kerasft.tasks._classification import Classification
from kerasft.tasks._text import EDGE_CASES, TextTask

SPANS = ("subject", "object")
SIGNS = {"subject": ("@", "*"), "object": ("#", "^")}  # Around a span, and around its kind.
AFTER = 1000  # Characters after both spans that are read.


class RelationClassification(TextTask, Classification):
    """Says how the `subject` of a text is related to its `object`: who works for whom, which drug treats which disease.

    Data have a `text`, two spans of it (`subject`, `object`), each `{"start": …, "end": …}` in characters, and a
    `label`; where nothing relates the two, one that says so, such as `none`. Spans may have a `label`, too, their kind
    (`PER`, `DRUG`), as those that `token_classification` finds; `candidates` makes pairs of these.

    The model reads the text with signs around the spans, `@ * PER * Anna @ joined # ^ ORG ^ the bank #`. Before both,
    it reads half as many characters as `sequence_length`, so that what is cut of a long text is not the spans, whatever
    its script; after both, 1,000.

    Args:
        labels: list of str or None. Names of the relations in order; learned from the training data if None.
        kinds: bool or None. Whether spans have a kind; learned from the training data if None.
        multi_label: bool. Any number of labels each example, given as a list or joined by `|`.
        pooling: str. `"auto"`, `"mean"`, `"first"`, `"last"` or `"pooled"`, the backbone's own.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        dropout: float. Before the last layer.
        columns: dict. The data's names for ours, such as `{"subject": "head", "object": "tail"}`.

    Example: >>> kerasft.FineTuner(task="relation_classification", backbone="bert_base_en_uncased")
    Source: Zhou & Chen 2022, https://arxiv.org/abs/2102.01373, section 2.2: typed entity markers of punctuation, which
        the backbone knows from its pretraining.
    """

    inputs = ("text", *SPANS)
    target: ClassVar[str] = "label"

    def __init__(self, labels=None, kinds=None, multi_label=False, **kwargs):
        if kwargs.pop("pair", False):
            raise UserError("relation_classification reads one text. Received: pair=True")
        super().__init__(labels=labels, multi_label=multi_label, **kwargs)
        if kinds not in (None, True, False):
            raise UserError(f"kinds must be true or false. Received: kinds={kinds!r}")
        self.kinds = kinds

    @property
    def units(self):
        """Width of the output."""
        return self.num_classes

    # === Data ===

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns `text`, `label`, and `subject` and `object` as dicts of `start`, `end` and, if need be, `label`."""
        frame = super().prepare(frame, with_targets, quarantine)
        spans = {name: [clean.as_span(value) for value in frame[name]] for name in SPANS}
        if self.kinds is None and with_targets:
            self.kinds = all("label" in span for found in spans.values() for span in found)
        if not self.kinds:
            spans = {name: [{"start": s["start"], "end": s["end"]} for s in found] for name, found in spans.items()}
        return frame.assign(**{name: pd.Series(found, frame.index, object) for name, found in spans.items()})

    def _problems(self, frame):
        problems = clean.text_problems(frame, "text")
        usable = clean.without(frame, problems)
        return problems + clean.span_pair_problems(usable, SPANS, "text", bool(self.kinds))

    @property
    def learned(self):
        return super().learned | ({} if self.kinds is None else {"kinds": self.kinds})

    def frame_of(self, inputs):
        """Returns a frame of tuples: a text, its subject, its object."""
        rows = [inputs] if isinstance(inputs, tuple) else list(inputs)
        wrong = [row for row in rows if not isinstance(row, (tuple, list)) or len(row) != len(self.inputs)]
        if wrong:
            raise UserError(f"Each input must be a text, its subject and its object. Received: {wrong[0]!r}")
        rows = [(string, *(clean.as_span(span) or span for span in spans)) for string, *spans in rows]
        frame = pd.DataFrame(rows, range(1, len(rows) + 1), self.inputs, dtype=object)
        frame.attrs["origin"] = "inputs"
        return frame

    # === Model ===

    def examples(self, frame, preprocessor, with_targets=True):
        made = self._tokenized(frame, preprocessor, self.targets(frame) if with_targets else None)
        limit = preprocessor.sequence_length
        cut = frame[made.lengths == limit]
        if with_targets and len(cut):
            lost = sum(self._tokenized(cut, preprocessor, after=0).lengths == limit)
            what = f"{lost:,} of {len(frame):,} rows lose their second span, which ends beyond sequence_length={limit}"
            if lost:
                warnings.warn(f"{what} tokens.", clean.DataWarning, stacklevel=2)
        return made

    def _tokenized(self, frame, preprocessor, targets=None, after=AFTER):
        before = preprocessor.sequence_length // 2
        texts = [marked(*map(tf.constant, part), before=before, after=after) for part in self._parts(frame)]
        return text.tokenize(preprocessor, [np.concatenate(texts).tolist()], targets)

    def _parts(self, frame):
        """Returns the arguments of `marked`, some rows at a time."""
        arrays = list(self.request(frame).values())
        return [[array[begin : begin + words.PARTS] for array in arrays] for begin in range(0, len(frame), words.PARTS)]

    # === Answers ===

    def signature(self):
        """Returns those of `text`, and of each span its `(batch, 2)` places and, if need be, the name of its kind."""
        specs = {"text": tf.TensorSpec((None,), tf.string, name="text")}
        specs |= {name: tf.TensorSpec((None, 2), tf.int32, name=name) for name in SPANS}
        kinds = [f"{name}_label" for name in SPANS] if self.kinds else []
        return specs | {name: tf.TensorSpec((None,), tf.string, name=name) for name in kinds}

    def request(self, frame):
        places = {
            name: np.array([(span["start"], span["end"]) for span in frame[name]], "int32").reshape(-1, 2)
            for name in SPANS
        }
        kinds = {f"{name}_label": _strings([span["label"] for span in frame[name]]) for name in SPANS if self.kinds}
        return {"text": _strings(frame["text"].tolist()), **places, **kinds}

    def serve(self, model, preprocessor, *inputs):
        texts = marked(*inputs, before=preprocessor.sequence_length // 2)
        return self.decode(model(preprocessor(texts), training=False))

    def edge_cases(self):
        rows, kind = [], {"label": "KIND"} if self.kinds else {}
        for number, case in enumerate(EDGE_CASES):
            size = len(case)
            spans = [{"start": begin, "end": begin + size, **kind} for begin in (0, size + 1)]
            rows.append((f"{case} {case}", *(spans if number % 2 else spans[::-1])))
        return self.frame_of(rows)

    def get_config(self):
        return {**super().get_config(), "kinds": self.kinds}


def candidates(texts, entities):
    """Returns a table of all pairs of entities of each text, to be asked for their relations, in both directions.

    Args:
        texts: list of str. entities: for each, a list of dicts of `start`, `end` and `label`, as
            `token_classification` answers.

    Returns: pandas.DataFrame of `text`, `subject` and `object`.
    Example: >>> relations.predict(candidates(texts, names.predict(texts)["entities"]))
    """
    rows = [
        {"text": string, "subject": first, "object": second}
        for string, found in zip(texts, entities, strict=True)
        for first in found
        for second in found
        if first is not second
    ]
    return pd.DataFrame(rows, columns=["text", *SPANS])


def marked(texts, subjects, objects, *kinds, before, after=AFTER):
    """Returns texts with signs around their spans, `(batch,)` strings.

    Args:
        texts: `(batch,)` strings. subjects, objects: `(batch, 2)` int32, in characters, that do not overlap.
        kinds: none, or those of subjects and of objects, each `(batch,)` strings.
        before, after: int. Characters before and after both spans that are kept.
    """
    spans = tf.cast(tf.stack([subjects, objects], axis=1), "int64")
    signs, around = (tf.tile([signs], [tf.shape(texts)[0], 1]) for signs in zip(*SIGNS.values(), strict=True))
    opening = signs
    if kinds:
        opening = tf.strings.join([signs, around, tf.stack(kinds, axis=1), around], " ")
    order = tf.argsort(spans[:, :, 0], axis=1)
    spans, signs, opening = (tf.gather(values, order, batch_dims=1) for values in (spans, signs, opening))
    begin = tf.maximum(spans[:, 0, 0] - before, 0)
    end = tf.minimum(spans[:, 1, 1] + after, tf.cast(tf.strings.length(texts, "UTF8_CHAR"), "int64"))
    edges = tf.concat([begin[:, None], tf.reshape(spans, (-1, 4)), end[:, None]], axis=1)
    rows = tf.repeat(tf.range(tf.shape(texts, "int64")[0]), 5)
    pieces = words.cut(texts, rows, tf.reshape(edges[:, :-1], [-1]), tf.reshape(edges[:, 1:], [-1]))
    ahead, first, between, second, behind = tf.unstack(tf.reshape(tf.strings.strip(pieces), (-1, 5)), axis=1)
    left, right = ([opening[:, side], span, signs[:, side]] for side, span in enumerate((first, second)))
    return tf.strings.strip(tf.strings.join([ahead, *left, between, *right, behind], " "))


def _strings(values):
    return np.array(values, dtype=object)
