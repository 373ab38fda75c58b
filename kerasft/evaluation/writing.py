"""How near written texts are to the right ones, and how well the model knows what comes next, with intervals."""

import collections
import dataclasses
import re

import numpy as np
import sacrebleu

from kerasft.errors import UserError
from kerasft.evaluation import _details, _mistakes, bootstrap, language

LISTED = "The rows whose written text has least in common with the right one, by chrF."
LETTERS, BETA = 6, 2  # Of chrF: longest run of letters; recall counts so many times as much as precision.
BLEU, CHRF, ROUGE = slice(3, 13), slice(13, 13 + 3 * LETTERS), slice(13 + 3 * LETTERS, None)


@dataclasses.dataclass
class Evaluation(language.Evaluation):
    """What was measured on one set of rows.

    Attributes:
        metrics: dict of name to `Estimate`: `chrf` and `bleu` of all texts together, 0 to 100; `rouge_1`, `rouge_2`
            and `rouge_l`, the mean F of common words, pairs of words, and the longest common sequence of words, 0 to 1;
            and those of `kerasft.evaluation.language`.
        mistakes: list of up to 20 dicts, the rows of the lowest chrF first: `row`, `origin`, `text`, `target`,
            `written`, `chrf`.
    """

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result = self.metrics["chrf"]
        words = f"chrF of {self.examples:,} written texts; 100 would be the right ones"
        span = f"95\N{NO-BREAK SPACE}% interval {result.low:.1f} to {result.high:.1f}"
        return _mistakes.Headline(f"{result.value:.1f}", "", words, span, "")

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        heads = {"text": "Text", "target": "Right", "written": "Written", "chrf": "chrF"}
        return [_details.texts(self.mistakes, "Farthest from right", LISTED, heads, digits=1)]


def evaluate(targets, outputs, answers, shown, frame, **resampling):  # noqa: PLR0913
    """Measures written texts, and the scores of right tokens.

    Args:
        targets: not read.
        outputs: `(rows, 3)` float, as of `kerasft.evaluation.language.evaluate`.
        answers: dict of one array of str, what was written for each row.
        shown: function from a table to one with `text` and the right `target`.
        frame: pandas.DataFrame of the examples in the same order.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`; rows are drawn.

    Returns: `Evaluation`.
    Raises: UserError if a number is not finite, or no token counts.
    Source: BLEU: Papineni et al. 2002, https://aclanthology.org/P02-1040, as sacrebleu has it, https://aclanthology.org/W18-6319;
        chrF: Popović 2015, https://aclanthology.org/W15-3049; ROUGE: Lin 2004, https://aclanthology.org/W04-1013.
    """
    outputs = language.checked(outputs, frame)
    (written,), texts = answers.values(), shown(frame)
    pairs = list(zip(written, texts["target"], strict=True))
    if len(pairs) != len(outputs):
        raise UserError(f"answers must be as many as outputs. Received: {len(pairs)} and {len(outputs)}")
    counts = np.concatenate([outputs, np.array([_counts(*pair) for pair in pairs], "float64")], axis=1)
    return Evaluation(
        examples=len(outputs),
        tokens=int(outputs[:, 2].sum()),
        metrics=bootstrap.intervals(MEASURES, outputs[:, 2], counts, **resampling),
        mistakes=_farthest(counts, texts, written, frame),
    )


def bleu(tokens, counts, weights):
    """BLEU of all texts, 0 to 100, by sacrebleu's words (13a) and smoothing (exp)."""
    written, right, *found = (weights @ counts[:, BLEU]).astype(int).tolist()
    return sacrebleu.BLEU.compute_bleu(found[:4], found[4:], written, right, smooth_method="exp").score


def chrf(tokens, counts, weights):
    """chrF of all texts, 0 to 100."""
    return float(_chrf(weights @ counts[:, CHRF]))


def rouge_1(tokens, counts, weights):
    """The mean F of common words."""
    return weights @ counts[:, ROUGE][:, 0] / weights.sum()


def rouge_2(tokens, counts, weights):
    """The mean F of common pairs of words."""
    return weights @ counts[:, ROUGE][:, 1] / weights.sum()


def rouge_l(tokens, counts, weights):
    """The mean F of the longest common sequence of words."""
    return weights @ counts[:, ROUGE][:, 2] / weights.sum()


example_scores, picture = language.example_scores, language.picture
MEASURES = {function.__name__: function for function in (chrf, bleu, rouge_1, rouge_2, rouge_l)} | language.MEASURES


def _counts(written, right):
    """Returns what the measures of a row are made of, `(BLEU, CHRF, ROUGE)` in one list."""
    found = sacrebleu.BLEU(effective_order=True).sentence_score(written, [right])
    letters = ["".join(text.split()) for text in (written, right)]
    words = [re.findall(r"\w+", text.lower()) for text in (written, right)]
    runs = [_overlap(letters, length) for length in range(1, LETTERS + 1)]
    # As sacrebleu has it, runs of a length that the right text lacks are none of the written one either.
    runs = [number for written, right, both in runs for number in (written if right else 0, right, both)]
    pairs = [_f(*_overlap(words, length)) for length in (1, 2)]
    longest = _f(len(words[0]), len(words[1]), _longest_common(*words))
    return [found.sys_len, found.ref_len, *found.counts, *found.totals, *runs, *pairs, longest]


def _overlap(pair, length):
    """Returns how many runs of so many items each of two sequences has, and both."""
    runs = [
        collections.Counter(tuple(items[at : at + length]) for at in range(len(items) - length + 1)) for items in pair
    ]
    return sum(runs[0].values()), sum(runs[1].values()), sum((runs[0] & runs[1]).values())


def _f(written, right, both):
    return 2 * both / (written + right) if written + right else 0.0


def _longest_common(first, second):
    """Returns the length of the longest sequence of items that both have, in order but not side by side."""
    best = [0] * (len(second) + 1)
    for item in first:
        before = best
        best = [0]
        for at, other in enumerate(second):
            best.append(before[at] + 1 if item == other else max(before[at + 1], best[-1]))
    return best[-1]


def _chrf(counts):
    """Returns chrF of `(…, 3 * LETTERS)` counts, 0 to 100: F of the mean precision and recall over the lengths."""
    written, right, both = np.moveaxis(np.reshape(counts, (*np.shape(counts)[:-1], LETTERS, 3)), -1, 0)
    is_known = (written > 0) & (right > 0)
    known = np.maximum(is_known.sum(-1), 1)
    precision = np.where(is_known, both / np.maximum(written, 1), 0).sum(-1) / known
    recall = np.where(is_known, both / np.maximum(right, 1), 0).sum(-1) / known
    total = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / np.where(total > 0, total, 1)


def _farthest(counts, texts, written, frame):
    scores = _chrf(counts[:, CHRF])
    rows = np.argsort(scores, kind="stable")[: _mistakes.SHOWN]
    texts = texts.iloc[rows]
    return _mistakes.listed(
        frame, rows, text=texts["text"], target=texts["target"], written=written[rows], chrf=scores[rows].tolist()
    )
