"""How good answers to questions are, as the official script of SQuAD scores them, with intervals."""

import dataclasses

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _details, _mistakes, bootstrap
from kerasft.pipeline import answers

NO_ANSWER = "no answer"


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of questions.

    Attributes:
        examples: int. Number of questions.
        metrics: dict of name to `Estimate`: `exact` and `f1`, and the same over the questions that have an answer and
            over those that have none, such as `f1/answerable`, where there are both.
        mistakes: list of up to 20 dicts, the surest first: `row`, `origin`, `preview`, `truth`, `predicted`, `score`.
    """

    examples: int
    metrics: dict
    mistakes: list
    noun = "questions"

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {"examples": self.examples}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result, exact = self.metrics["f1"], self.metrics["exact"]
        words = f"F1 of the words of answers to {self.examples:,} {self.noun if self.examples > 1 else 'question'}"
        span = f"95\N{NO-BREAK SPACE}% interval {100 * result.low:.1f} to {100 * result.high:.1f}"
        aside = f"{100 * exact.value:.1f}\N{NO-BREAK SPACE}% of the answers are right to the word."
        return _mistakes.Headline(f"{100 * result.value:.1f}", "", words, span, aside)

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        return [_details.mistakes(self)]


def evaluate(targets, outputs, threshold=None, frame=None, **resampling):
    """Measures answers as SQuAD's script does: articles, case and punctuation do not count; of several right answers,
    the nearest does.

    Args:
        targets: list of `(context, starts, ends, texts)`: starts and ends of the context's words in characters, and
            the right answers, none for a question without.
        outputs: ragged `(questions, None, 2)` logits, as of `kerasft.pipeline.answers.relative`.
        threshold: float or None. What a span's logit must exceed, or else there is no answer; None always answers.
        frame: pandas.DataFrame with `question` and `context`, for the mistakes, or None.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`.

    Returns: `Evaluation`.
    Raises: UserError if there are not as many outputs as targets, or a logit is not finite; it names the first row.
    Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1.
    """
    texts, values = _answered(targets, outputs, threshold, frame)
    scores = np.array([answers.scores(text, gold) for text, (*_, gold) in zip(texts, targets, strict=True)])
    kinds = {"": np.ones(len(targets), bool)}
    answerable = np.array([bool(gold) for *_, gold in targets])
    if answerable.any() and not answerable.all():
        kinds |= {"/answerable": answerable, "/unanswerable": ~answerable}
    measures = {
        f"{name}{kind}": _mean_over(scores[:, column], rows)
        for kind, rows in kinds.items()
        for column, name in enumerate(("exact", "f1"))
    }
    estimates = bootstrap.intervals(measures, scores, None, **resampling)
    return Evaluation(
        examples=len(targets),
        metrics=estimates,
        mistakes=_worst(targets, texts, values, scores, frame),
    )


def picture(targets, outputs, threshold=None):
    """Returns None: answers have no picture."""
    return None


def example_scores(targets, outputs, threshold=None):
    """Returns the name of the metric by which runs are compared, and `(rows,)` scores of which it is the mean.

    Args:
        targets, outputs, threshold: as of `evaluate`.
    """
    texts, _ = _answered(targets, outputs, threshold, None)
    return "f1", np.array([answers.scores(text, gold)[1] for text, (*_, gold) in zip(texts, targets, strict=True)])


def _answered(targets, outputs, threshold, frame):
    """Returns the text of each answer, empty for none, and the logit of the best span."""
    flat, splits = np.asarray(outputs.flat_values), np.asarray(outputs.row_splits)
    if len(targets) != len(splits) - 1 or not len(targets):
        raise UserError(
            "There must be as many outputs as questions, one at least. "
            f"Received: {len(targets)} questions, {len(splits) - 1} outputs"
        )
    _mistakes.check_finite(flat, splits, frame)
    return answers.texts(targets, outputs, threshold)


def _mean_over(scores, rows):
    def measure(targets, outputs, weights):
        counted = weights * rows
        return scores @ counted / counted.sum() if counted.any() else np.nan

    return measure


def _worst(targets, texts, values, scores, frame):
    wrong = np.flatnonzero(scores[:, 0] == 0)
    rows = wrong[np.lexsort((-values[wrong], scores[wrong, 1]))][: _mistakes.SHOWN]
    return [
        {
            "row": _mistakes.row_number(frame, row),
            "origin": _mistakes.origin(frame),
            "preview": None if frame is None else frame["question"].iloc[row],
            "truth": " | ".join(dict.fromkeys(targets[row][3])) or NO_ANSWER,
            "predicted": texts[row] or NO_ANSWER,
            "score": float(1 / (1 + np.exp(-np.clip(values[row], -50, 50)))),
        }
        for row in rows.tolist()
    ]
