"""How good vectors of texts are: whether near ones mean the same, with intervals."""

import dataclasses

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _errors, _mistakes, bootstrap, figures, regression
from kerasft.pipeline.pairs import similarities

AT = (1, 5, 10)  # Of how many nearest texts recall is told.
DEPTH = 10  # Of reciprocal ranks and gains.
PART = 1000  # Queries that are compared with all texts at once.


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of pairs of texts.

    Attributes:
        examples: int. Number of pairs.
        metrics: dict of name to `Estimate`. Of pairs with values: `spearman` and `pearson` of cosine similarity and
            value. Of pairs that belong together, each partner being looked for among all: `mrr`, the mean of one over
            the rank of the nearest right one, 0 beyond the tenth; `ndcg`, of the first ten; `recall@1` and so on, the
            share of the right ones that are among the nearest.
        truth, predicted: `(rows,)` float, values and similarities; or None without values.
        mistakes: list of up to 20 dicts, the pairs farthest from their value: `row`, `origin`, `preview`, `truth`,
            `predicted`; empty without values.
    """

    examples: int
    metrics: dict
    truth: np.ndarray | None
    predicted: np.ndarray | None
    mistakes: list
    noun = "pairs"

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {"examples": self.examples}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result = next(iter(self.metrics.values()))
        what = "mean reciprocal rank of the right partner" if self.truth is None else "rank correlation of similarity"
        words = f"{what} over {self.examples:,} {self.noun}"
        span = f"95\N{NO-BREAK SPACE}% interval {result.low:.3f} to {result.high:.3f}"
        return _mistakes.Headline(f"{result.value:.3f}", "", words, span, "")

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        return [] if self.truth is None else [_errors.scatter(self), _errors.listed(self)]


def evaluate(targets, outputs, sizes=None, frame=None, **resampling):
    """Measures vectors of pairs of texts.

    Args:
        targets: `(rows, 1)` float, how alike the texts are; or `(rows, 1 or more)` int, which text the partner is and,
            after it, each wrong one, equal for equal texts.
        outputs: `(rows, 2 or more, width)` float: of each row, the vectors of the text, of its partner, and of wrong
            ones.
        sizes: list of int or None. Vectors are also measured when cut to these sizes.
        frame: pandas.DataFrame with `text` and `text_pair`, for equal texts and the mistakes, or None.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`.

    Returns: `Evaluation`.
    Raises: UserError if shapes disagree or a number is not finite; it names the first row.
    Source: measures as of Manning, Raghavan & Schütze 2008, https://nlp.stanford.edu/IR-book, chapter 8.
    """
    targets, outputs = np.asarray(targets), np.asarray(outputs)
    _check(targets, outputs, frame)
    if targets.dtype.kind == "f":
        return _of_values(targets[:, 0].astype(float), outputs, sizes, frame, resampling)
    return _of_partners(targets, outputs, sizes, frame, resampling)


def picture(targets, outputs, sizes=None):
    """Returns similarities against values as a `figures.Picture`, None without values; arguments as of `evaluate`."""
    targets = np.asarray(targets)
    if targets.dtype.kind != "f":
        return None
    return figures.Picture("scatter", figures.scatter_figure(targets[:, 0], similarities(np.asarray(outputs))))


def example_scores(targets, outputs, sizes=None):
    """Returns the name of the metric by which runs are compared, and `(rows,)` scores of which it is the mean.

    Args:
        targets, outputs, sizes: as of `evaluate`.
    """
    targets, outputs = np.asarray(targets), np.asarray(outputs)
    _check(targets, outputs, None)
    if targets.dtype.kind == "f":
        return "negative_absolute_error", -np.abs(similarities(outputs) - targets[:, 0])
    return "mrr", _ranked(targets, outputs, None, np.arange(len(targets)))["mrr"]


def _of_values(truth, outputs, sizes, frame, resampling):
    predicted = similarities(outputs)
    places = np.unique(truth, return_inverse=True)[1]
    measures = {name: _of_size(name, predicted, places) for name in ("spearman", "pearson")}
    measures |= {f"spearman/{size}": _of_size("spearman", similarities(outputs, size), places) for size in sizes or ()}
    estimates = bootstrap.intervals(measures, truth, None, **resampling)
    return Evaluation(
        examples=len(truth),
        metrics=estimates,
        truth=truth,
        predicted=predicted,
        mistakes=regression.largest(truth, predicted, frame),
    )


def _of_size(name, predicted, places):
    outputs = regression.Outputs(predicted, places, np.unique(predicted, return_inverse=True)[1])
    return lambda truth, _, weights: regression.MEASURES[name](truth, outputs, weights)


def _of_partners(partners, outputs, sizes, frame, resampling):
    texts = np.arange(len(partners))
    if frame is not None:
        texts = np.unique(frame["text"].astype(str), return_inverse=True)[1]
    scores = _ranked(partners, outputs, None, texts)
    scores |= {f"mrr/{size}": _ranked(partners, outputs, size, texts)["mrr"] for size in sizes or ()}
    measures = {name: _mean_of(values) for name, values in scores.items()}
    estimates = bootstrap.intervals(measures, partners[:, 0], None, **resampling)
    return Evaluation(
        examples=len(partners),
        metrics=estimates,
        truth=None,
        predicted=None,
        mistakes=[],
    )


def _mean_of(scores):
    return lambda targets, outputs, weights: weights @ scores / weights.sum()


def _ranked(partners, outputs, size, texts):
    """Returns the measures of each row, `(rows,)`, by name: how near its text is to the right partners among all.

    Args:
        partners: as the targets of `evaluate`. texts: `(rows,)` int, equal for equal texts, whose right partners are
            those of all of them.
    """
    vectors = outputs[:, :, :size].astype("float32")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-12)
    _, first, places = np.unique(partners, return_index=True, return_inverse=True)
    corpus = vectors[:, 1:].reshape(-1, vectors.shape[2])[first]  # Each text once.
    right = {}
    for text, partner in zip(texts.tolist(), places.reshape(partners.shape)[:, 0].tolist(), strict=True):
        right.setdefault(text, set()).add(partner)
    gains = 1 / np.log2(np.arange(DEPTH) + 2)
    found = {name: np.zeros(len(partners)) for name in ("mrr", "ndcg", *(f"recall@{k}" for k in AT))}
    depth = min(DEPTH, len(corpus))
    for begin in range(0, len(partners), PART):
        scores = vectors[begin : begin + PART, 0] @ corpus.T
        nearest = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, nearest, 1), axis=1, kind="stable")
        for row, places in enumerate(np.take_along_axis(nearest, order, 1).tolist(), start=begin):
            wanted = right[int(texts[row])]
            hits = np.array([place in wanted for place in places])
            if hits.any():
                found["mrr"][row] = 1 / (hits.argmax() + 1)
                found["ndcg"][row] = gains[:depth] @ hits / gains[: len(wanted)].sum()
            for k in AT:
                found[f"recall@{k}"][row] = hits[:k].sum() / len(wanted)
    return found


def _check(targets, outputs, frame):
    is_whole = outputs.ndim == 3 and outputs.shape[1] > 1 and len(outputs)
    if not is_whole or targets.shape != (len(outputs), 1 if targets.dtype.kind == "f" else outputs.shape[1] - 1):
        raise UserError(
            "targets must be (rows, 1), or of partners (rows, partner and wrong ones), and outputs (rows, 2 or more, "
            f"width), with one row at least. Received: targets of shape {targets.shape}, outputs of shape "
            f"{outputs.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(outputs).all((1, 2)))
    if len(bad):
        raise UserError(
            f"{_mistakes.origin(frame)}, row {_mistakes.row_number(frame, bad[0])}: the vectors must be finite. "
            f"Received: {outputs[bad[0]].ravel()[:5]}"
        )
