"""How well spans are found: measures with intervals, and what a report shows of those missed and made up."""

import dataclasses

import numpy as np
from scipy import special

from kerasft.errors import UserError
from kerasft.evaluation import _details, _mistakes, bootstrap, figures
from kerasft.evaluation.bootstrap import ratio
from kerasft.pipeline.tags import Scheme, named

NONE = "none"


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of texts.

    Attributes:
        labels: list of str. Types of spans.
        examples: int. Number of texts.
        metrics: dict of name to `Estimate`: `f1`, `precision`, `recall` over all spans, `macro_f1`, the mean over the
            types that occur, `word_accuracy`, of the tags; and `f1/<type>` for each type.
        per_class: list of dicts with `label`, `support` (int), `precision`, `recall` and `f1` (`Estimate`s).
        confusion: int array `(types, 2, 2)` of counts, each `[[0, made up], [missed, right]]`.
        mistakes: list of up to 20 dicts, the surest first: `row`, `origin`, `preview`, `truth`, what was missed,
            `predicted`, what was made up, and `score`, the probability of the surest of them.
    """

    labels: list
    examples: int
    metrics: dict
    per_class: list
    confusion: np.ndarray
    mistakes: list
    noun = "texts"
    multi_label = True

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {name: getattr(self, name) for name in ("per_class", "confusion", "examples", "labels")}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result, spans = self.metrics["f1"], int(self.confusion[:, 1].sum())
        span = f"95\N{NO-BREAK SPACE}% interval {100 * result.low:.1f} to {100 * result.high:.1f}"
        words = f"F1 of {spans:,} spans in {self.examples:,} {self.noun if self.examples > 1 else 'text'}"
        right = int(self.confusion[:, 1, 1].sum())
        aside = f"{right:,} were found as they are, type and both ends; {int(self.confusion[:, 0, 1].sum()):,} made up."
        return _mistakes.Headline(f"{100 * result.value:.1f}", "", words, span, aside)

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        return [_details.classes(self), _details.mistakes(self)]


@dataclasses.dataclass
class Counts:
    """What measures add up, text by text.

    Attributes:
        right, predicted, actual: `(texts, types)` float. Spans.
        words, right_words: `(texts,)` float.
    """

    right: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray
    words: np.ndarray
    right_words: np.ndarray


def evaluate(targets, outputs, labels, frame=None, **resampling):
    """Measures logits of words against the truth, span by span, as seqeval does.

    Args:
        targets: `(words,)` int numbers of tags, of all texts one after the other.
        outputs: ragged `(texts, None, tags)` float logits.
        labels: sequence of str. The tags.
        frame: pandas.DataFrame of the texts, with `text`, `starts` and `ends` of the words, for the mistakes, or None.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`; texts are drawn.

    Returns: `Evaluation`.
    Raises: UserError if there are not as many outputs as targets, or a logit is not finite; it names the first text.
    """
    scheme = Scheme(labels)
    logits, splits = _checked(targets, outputs, frame)
    predicted = logits.argmax(1)
    truth, found = scheme.spans(targets, splits), scheme.spans(predicted, splits)
    counts = _counts(scheme, truth, found, targets == predicted, splits)
    measures = {"f1": _f1, "precision": _precision, "recall": _recall, "macro_f1": _macro, "word_accuracy": _accuracy}
    estimates = bootstrap.intervals({**measures, "per_class": _per_class}, splits[:-1], counts, **resampling)
    rows = _rows(estimates.pop("per_class"), scheme.types, counts.actual.sum(0))
    right, made, actual = (a.sum(0) for a in (counts.right, counts.predicted, counts.actual))
    cells = np.array([[np.zeros_like(right), made - right], [actual - right, right]])
    return Evaluation(
        labels=scheme.types,
        examples=len(splits) - 1,
        metrics={**estimates, **{f"f1/{row['label']}": row["f1"] for row in rows}},
        per_class=rows,
        confusion=cells.transpose(2, 0, 1).astype(int),
        mistakes=_worst(scheme, truth, found, special.softmax(logits, axis=1).max(1), frame),
    )


def picture(targets, outputs, labels):
    """Returns the confusion matrix of the tags as a `figures.Picture`; arguments as of `evaluate`."""
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (targets, _checked(targets, outputs, None)[0].argmax(1)), 1)
    return figures.Picture("confusion", figures.confusion_figure(confusion, labels))


def example_scores(targets, outputs, labels):
    """Returns the name of the metric by which runs are compared, and `(texts,)` scores of which it is the mean.

    A text is right if all its spans are found and none is made up. Arguments as of `evaluate`.
    """
    scheme = Scheme(labels)
    logits, splits = _checked(targets, outputs, None)
    truth, found = (scheme.spans(numbers, splits) for numbers in (targets, logits.argmax(1)))
    counts = _counts(scheme, truth, found, np.ones(len(targets), bool), splits)
    wrong = counts.actual + counts.predicted - 2 * counts.right
    return "text_accuracy", (wrong.sum(1) == 0).astype(int)


def _checked(targets, outputs, frame):
    """Returns logits `(words, tags)` and splits `(texts + 1,)`."""
    logits, splits = np.asarray(outputs.flat_values), np.asarray(outputs.row_splits)
    if len(targets) != len(logits) or len(splits) < 2:
        raise UserError(
            f"Each word needs a target, and there must be one text. Received: {len(targets)} targets for "
            f"{len(logits)} words in {len(splits) - 1} texts"
        )
    _mistakes.check_finite(logits, splits, frame)
    return logits, splits


def _counts(scheme, truth, found, is_right, splits):
    texts, types = len(splits) - 1, len(scheme.types)

    def table(spans):
        return np.bincount(spans[0] * types + spans[3], minlength=texts * types).reshape(texts, types).astype(float)

    both = {*zip(*truth, strict=True)} & {*zip(*found, strict=True)}
    columns = np.array(sorted(both), int).reshape(-1, 4).T
    right_words = np.add.reduceat(np.append(is_right, False).astype(float), splits[:-1]) * (np.diff(splits) > 0)
    return Counts(table(columns), table(found), table(truth), np.diff(splits).astype(float), right_words)


def _totals(counts, weights):
    return (weights @ array for array in (counts.right, counts.predicted, counts.actual))


def _precision(_, counts, weights):
    right, predicted, _ = _totals(counts, weights)
    return float(ratio(right.sum(), predicted.sum()))


def _recall(_, counts, weights):
    right, _, actual = _totals(counts, weights)
    return float(ratio(right.sum(), actual.sum()))


def _f1(_, counts, weights):
    right, predicted, actual = _totals(counts, weights)
    return float(ratio(2 * right.sum(), predicted.sum() + actual.sum()))


def _macro(_, counts, weights):
    right, predicted, actual = _totals(counts, weights)
    occurs = predicted + actual > 0
    return ratio(2 * right, predicted + actual)[occurs].mean() if occurs.any() else np.nan


def _accuracy(_, counts, weights):
    return float(ratio(weights @ counts.right_words, weights @ counts.words))


def _per_class(_, counts, weights):
    right, predicted, actual = _totals(counts, weights)
    _, all_predicted, all_actual = _totals(counts, np.ones_like(weights))
    precision, recall = ratio(right, predicted, all_predicted), ratio(right, actual, all_actual)
    return np.stack([precision, recall, ratio(2 * right, predicted + actual, all_predicted + all_actual)])


def _rows(estimate, types, support):
    parts = np.stack(estimate, axis=-1)  # (precision recall f1, types, value low high)
    return [
        {
            "label": kind,
            "support": int(support[number]),
            **{
                name: bootstrap.Estimate(*map(float, part[number]))
                for name, part in zip(("precision", "recall", "f1"), parts, strict=True)
            },
        }
        for number, kind in enumerate(types)
    ]


def _worst(scheme, truth, found, certainty, frame):
    """Returns up to 20 texts with wrong spans, the surest first, see `Evaluation.mistakes`."""
    missed, made_up = _without(truth, found), _without(found, truth)
    scores = {}
    for spans in (missed, made_up):
        for row, start, end, _ in zip(*spans, strict=True):
            scores[int(row)] = max(scores.get(int(row), 0.0), float(certainty[start:end].mean()))
    rows = sorted(scores, key=lambda row: -scores[row])[: _mistakes.SHOWN]
    texts = [_described(spans, scheme.types, frame) for spans in (missed, made_up)]
    return [
        {
            "row": _mistakes.row_number(frame, row),
            "origin": _mistakes.origin(frame),
            "preview": _mistakes.preview(frame, row),
            "truth": ", ".join(texts[0].get(row, [])) or NONE,
            "predicted": ", ".join(texts[1].get(row, [])) or NONE,
            "score": scores[row],
        }
        for row in rows
    ]


def _without(spans, others):
    """Returns the `Spans` that are not among the others."""
    left = sorted({*zip(*spans, strict=True)} - {*zip(*others, strict=True)})
    return type(spans)(*np.array(left, int).reshape(-1, 4).T)


def _described(spans, types, frame):
    if frame is None:
        rows = {}
        for row, _, _, kind in zip(*spans, strict=True):
            rows.setdefault(int(row), []).append(types[kind])
        return rows
    return {
        row: [f"{span['label']}: {span['text']}" for span in found]
        for row, found in enumerate(named(spans, types, frame))
    }
