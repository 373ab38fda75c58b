"""The part of a text that answers a question."""

from typing import ClassVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft import registry
from kerasft.errors import UserError
from kerasft.pipeline import answers, clean, words
from kerasft.tasks._head import SpanHead
from kerasft.tasks._text import EDGE_CASES, TextInputs, check_sequence_length, most_tokens, text_preprocessor


class QuestionAnswering(TextInputs):
    """Finds the answer to a `question` in a text (`context`), or says that it holds none.

    Data are files of SQuAD 1.1 or 2.0, or tables whose `answers` are lists of `{"text": …, "start": …}`, the start in
    characters; an empty list is a question without an answer. Long texts are cut into windows that overlap, each after
    the question; of all windows, the answer is the span that the model prefers most to there being none.

    Args:
        no_answer: bool or None. Whether there may be none; learned from the training data if None.
        threshold: float. How much surer of an answer than of none the model must be, in logits; `fit` chooses it on
            validation data where there are such questions.
        sequence_length: int, 32 or more, or None. Of a window, in tokens; None is the backbone's, 384 at most.
        dropout: float. Before the last layer.
        columns: dict. The data's names for ours, such as `{"context": "paragraph"}`.

    Example: >>> kerasft.FineTuner(task="question_answering", backbone="bert_base_en_uncased")
    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3.
    """

    evaluation: ClassVar[str] = "answers"
    monitor: ClassVar[tuple[str, str]] = ("val_exact", "max")
    inputs = ("question", "context")
    target: ClassVar[str] = "answers"
    answers_rows: ClassVar[bool] = False

    def __init__(self, no_answer=None, threshold=0.0, sequence_length=None, **kwargs):
        super().__init__(**kwargs)
        if no_answer not in (None, True, False):
            raise UserError(f"no_answer must be true or false. Received: no_answer={no_answer!r}")
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not np.isfinite(threshold):
            raise UserError(f"threshold must be a finite number. Received: threshold={threshold!r}")
        check_sequence_length(sequence_length, 32)
        self.no_answer = no_answer
        self.threshold = float(threshold)
        self.sequence_length = sequence_length

    # === Data ===

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns `question`, `context`, its words as `tokens` with `starts` and `ends` of each, and `answers`."""
        if not with_targets and {"starts", "ends"} <= set(frame):  # It was here before.
            return frame
        wanted = dict.fromkeys(self.inputs, True) | ({"answers": True} if with_targets else {})
        columns = {ours: theirs for ours, theirs in self.columns.items() if with_targets or theirs in frame}
        frame = clean.choose_columns(frame, wanted, columns)
        problems = [problem for name in self.inputs for problem in clean.text_problems(frame, name)]
        if with_targets:
            problems += clean.answer_problems(clean.without(frame, problems), "answers", "context")
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        made = dict(zip(("tokens", "starts", "ends"), words.in_words(frame["context"].tolist()), strict=True))
        if with_targets:
            made["answers"] = [clean.as_answers(value) for value in frame["answers"]]
            if self.no_answer is None:
                self.no_answer = not all(made["answers"])
        return frame.assign(**{name: pd.Series(rows, frame.index, object) for name, rows in made.items()})

    @property
    def learned(self):
        return {} if self.no_answer is None else {"no_answer": self.no_answer, "threshold": self.threshold}

    def targets(self, frame):
        """Returns a list of `(context, starts, ends, texts of the answers)`, one a row."""
        texts = [[answer["text"] for answer in row] for row in frame["answers"]]
        return list(zip(*(frame[name] for name in ("context", "starts", "ends")), texts, strict=True))

    def shown(self, frame):
        """Returns `question`, `context`, and the first right `answer`."""
        first = [row[0]["text"] if row else "" for row in frame["answers"]]
        return frame[list(self.inputs)].assign(answer=first)

    def frame_of(self, inputs):
        """Returns a frame of pairs of question and text."""
        rows = [inputs] if isinstance(inputs, tuple) else list(inputs)
        wrong = [row for row in rows if not isinstance(row, (tuple, list)) or len(row) != 2]
        if wrong:
            raise UserError(f"Each input must be a question and a context. Received: {wrong[0]!r}")
        frame = pd.DataFrame(rows, columns=list(self.inputs), index=range(1, len(rows) + 1), dtype=object)
        frame.attrs["origin"] = "inputs"
        return frame

    # === Model ===

    def preprocessor(self, pretrained):
        limit = most_tokens(pretrained.backbone) or 384
        return text_preprocessor(pretrained, self.sequence_length or min(limit, 384), words.WordPreprocessor)

    def examples(self, frame, preprocessor, with_targets=True):
        questions = frame["question"].tolist()
        made = words.tokenize(preprocessor, frame["tokens"].tolist(), questions, answers.Questions)
        if with_targets:
            rows = zip(frame["answers"], frame["starts"], frame["ends"], strict=True)
            made.targets = _positions(made, [_words_of(*row) for row in rows])
        return made

    def head(self, pretrained):
        return SpanHead(self.dropout)

    def loss(self):
        return registry.find("losses", "span_cross_entropy")()

    def metrics(self):
        return [keras.metrics.MeanMetricWrapper(_is_exact, name="exact")]

    # === Answers ===

    def serve(self, model, preprocessor, question, context):
        found, starts, ends = words.split(context)
        rows, places = preprocessor.windows(found, question)
        outputs = answers.relative(model(preprocessor.dense(rows), training=False), places.words)
        return self.decode(found.with_values(outputs), context, starts, ends)

    def decoded(self, outputs, frame):
        starts, ends = (words.ragged(frame[name], "int64") for name in ("starts", "ends"))
        return self.decode(outputs, tf.constant(frame["context"].tolist()), starts, ends)

    def decode(self, outputs, context, starts, ends):
        """Returns `answer` (batch,), its `start` and `end` in characters and `score`, its probability.

        Where there is none, they are `""`, -1, -1 and the probability of that. `answers` and `scores`,
        `(batch, BEST)`, are the best spans all the same, the best first; probabilities are among these and none.

        Args:
            outputs: ragged `(batch, None, 2)`, see `answers.relative`. context: `(batch,)` strings.
            starts, ends: ragged `(batch, None)` int64, of the words, in characters.
        """
        values, first, last = answers.best(outputs)
        is_one = values > answers.NEVER / 2
        begin, end = (_at(places, numbers) for places, numbers in ((starts, first), (ends, last)))
        begin, end = (tf.where(is_one, places, 0) for places in (begin, end))
        row = tf.repeat(tf.range(tf.shape(values, "int64")[0]), answers.BEST)
        texts = tf.reshape(words.cut(context, row, tf.reshape(begin, [-1]), tf.reshape(end, [-1])), tf.shape(values))
        least = self.threshold if self.no_answer else answers.NEVER / 2
        nothing = tf.fill([tf.shape(values)[0], 1], float(least))
        chances = tf.nn.softmax(tf.concat([nothing, values], axis=1))
        found = values[:, 0] > least
        return {
            "answer": tf.where(found, texts[:, 0], ""),
            "start": tf.where(found, tf.cast(begin[:, 0], "int32"), -1),
            "end": tf.where(found, tf.cast(end[:, 0], "int32"), -1),
            "score": tf.where(found, chances[:, 1], chances[:, 0]),
            "answers": texts,
            "scores": chances[:, 1:],
        }

    def calibrate(self, targets, outputs):
        """Chooses the threshold with which most questions are answered right, where some have no answer."""
        if self.no_answer:
            self.threshold = answers.best_threshold(targets, outputs)

    def edge_cases(self):
        following = [*EDGE_CASES[1:], EDGE_CASES[0]]
        return self.prepare(self.frame_of(list(zip(EDGE_CASES, following, strict=True))), with_targets=False)

    def evaluation_arguments(self):
        return {"threshold": self.threshold if self.no_answer else None}

    def get_config(self):
        own = {"no_answer": self.no_answer, "threshold": self.threshold, "sequence_length": self.sequence_length}
        return {**super().get_config(), **own}


def _at(places, numbers):
    """Returns the places, ragged `(batch, None)`, of words with these numbers, `(batch, BEST)`; 0 where none is."""
    dense = places.to_tensor(0)
    dense = tf.concat([dense, tf.zeros([tf.shape(dense)[0], 1], dense.dtype)], axis=1)
    return tf.gather(dense, tf.minimum(numbers, tf.shape(dense)[1] - 1), batch_dims=1)


def _words_of(found, starts, ends):
    """Returns the numbers of the first and the last word of a row's first answer, or None without one."""
    if not found:
        return None
    first, after = words.touched(found[0]["start"], found[0]["start"] + len(found[0]["text"]), starts, ends)
    return (first, after - 1) if first < after else None


def _positions(made, spans):
    """Returns `(windows, 2)` int32: where each window has the whole answer of its text, 0 and 0 where it has not."""
    places, targets = made.places, np.zeros((len(made), 2), "int32")
    for number, (row, begin, size, head) in enumerate(places.windows):
        if spans[row] is not None:
            first, last = (made.splits[row] + word for word in spans[row])
            inside = places.pieces[first, 0] - begin, places.pieces[last, 1] - begin
            if inside[0] >= 0 and inside[1] < size:
                targets[number] = head + inside[0], head + inside[1]
    return targets


def _is_exact(y_true, y_pred):
    return tf.reduce_all(tf.argmax(y_pred, 1, "int32") == tf.cast(y_true, "int32"), axis=1)
