"""Spans of words that answer questions: where they are in windows, and which are best."""

import collections
import dataclasses
import re
import string

import numpy as np
import tensorflow as tf

from kerasft.pipeline.words import Windows

LONGEST = 30  # Words of an answer.
BEST = 5  # Answers that are told.
NEVER = -1e4  # The logit of what is no word.


@dataclasses.dataclass
class Questions(Windows):
    """Windows of contexts, each after its question; targets are by window, answers by word.

    Attributes:
        targets: `(windows, 2)` int32, positions of the answer's first and last token, 0 where the window has none; or
            None.
    """

    @property
    def target_signature(self):
        """The `tf.TensorSpec`s of what `gather_targets` returns."""
        return () if self.targets is None else (tf.TensorSpec((None, 2), tf.int32),)

    def gather_targets(self, rows, width=None):
        """Returns the targets of these windows, `(len(rows), 2)` int32."""
        return () if self.targets is None else (self.targets[rows],)

    def of_words(self, made, begins):
        """Returns `(words, 2)` logits, see `relative`."""
        windows, firsts, lasts = self.places.words.T
        nothing = made[begins[windows]]
        return np.stack([made[begins[windows] + firsts, 0], made[begins[windows] + lasts, 1]], axis=1) - nothing


def relative(outputs, places):
    """Returns `(words, 2)`: how much surer the model is that an answer begins or ends there than that there is none.

    That there is none stands for a window's first position, so that answers in different windows can be compared.

    Args:
        outputs: `(windows, length, 2)` logits. places: `(words, 3)` int32, see `words.Places`.
    """
    windows, firsts, lasts = tf.unstack(places, axis=1)
    nothing = tf.gather_nd(outputs, tf.stack([windows, tf.zeros_like(windows)], 1))
    begins, ends = (tf.gather_nd(outputs, tf.stack([windows, at], 1)) for at in (firsts, lasts))
    return tf.stack([begins[:, 0], ends[:, 1]], axis=1) - nothing


def best(outputs):
    """Returns the logits of the best answers of each text, and the numbers of their first and last word.

    Each is `(batch, BEST)`, the best first; logits are not above `NEVER` where a text has no more.

    Args:
        outputs: ragged `(batch, None, 2)` logits.
    """
    dense = outputs.to_tensor(NEVER)
    dense = tf.concat([dense, tf.fill([tf.shape(dense)[0], LONGEST, 2], NEVER)], axis=1)
    count = tf.shape(dense)[1] - LONGEST + 1  # One more than the longest text has words, which is no word.
    ends = tf.gather(dense[..., 1], tf.range(count)[:, None] + tf.range(LONGEST), axis=1)
    totals = tf.reshape(dense[:, :count, :1] + ends, [tf.shape(dense)[0], count * LONGEST])
    values, which = tf.math.top_k(totals, BEST)
    return values, which // LONGEST, which // LONGEST + which % LONGEST


def texts(targets, outputs, threshold=None):
    """Returns the text of each best answer, empty for none, and its logit, `(questions,)`.

    Args:
        targets: list of tuples that begin with a context and the starts and the ends of its words in characters.
        outputs: ragged `(questions, None, 2)` logits.
        threshold: float or None. What a span's logit must exceed, or else there is no answer; None always answers.
    """
    values, firsts, lasts = (array[:, 0].numpy() for array in best(outputs))
    least, found = NEVER / 2 if threshold is None else threshold, []
    for (context, starts, ends, *_), value, first, last in zip(targets, values, firsts, lasts, strict=True):
        found.append(context[starts[first] : ends[last]] if value > least else "")
    return found, values


def best_threshold(targets, outputs):
    """Returns the threshold with which most answers are right to the word, as SQuAD 2.0's script finds it."""
    found, values = texts(targets, outputs)
    has_answer = np.array([bool(gold) for *_, gold in targets])
    exact = np.array([scores(text, gold)[0] for text, (*_, gold) in zip(found, targets, strict=True)])
    order = np.argsort(-values, kind="stable")
    # With the first n answered: those right among them, and all others right that have no answer.
    right = np.concatenate([[0], np.cumsum((exact * has_answer)[order])])
    left = (~has_answer).sum() - np.concatenate([[0], np.cumsum(~has_answer[order])])
    answered = int(np.argmax(right + left))
    around = np.concatenate([[values[order[0]] + 1], values[order], [values[order[-1]] - 1]])
    return float(around[answered : answered + 2].mean())


def normalized(text):
    """Returns an answer without articles, case, punctuation and blanks beyond one."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def scores(text, gold):
    """Returns exact match, 0 or 1, and F1 of an answer with the nearest of the right ones."""
    gold = [answer for answer in gold if normalized(answer)] or [""]
    return max(float(normalized(text) == normalized(answer)) for answer in gold), max(_f1(text, g) for g in gold)


def _f1(text, gold):
    found, wanted = normalized(text).split(), normalized(gold).split()
    if not found or not wanted:
        return float(found == wanted)
    common = sum((collections.Counter(found) & collections.Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))
