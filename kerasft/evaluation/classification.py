"""How good a classifier is: measures with intervals, and what a report shows of its mistakes."""

import dataclasses

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _details, _mistakes, bootstrap, figures, measures
from kerasft.evaluation._markup import percent

SINGLE = ("accuracy", "macro_f1", "matthews_correlation", "auroc", "log_loss", "expected_calibration_error")
MULTIPLE = ("subset_accuracy", "macro_f1", "micro_f1", "auroc", "log_loss")


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of examples.

    Attributes:
        labels: list of str. Names of the classes.
        examples: int. Number of rows.
        noun: str. What a row is: `"texts"`, `"images"` or `"examples"`.
        multi_label: bool. Whether a row has any number of labels.
        metrics: dict of name to `Estimate`: `accuracy`, `macro_f1`, `matthews_correlation`, `auroc`, `log_loss`,
            `expected_calibration_error`; with `multi_label` `subset_accuracy`, `macro_f1`, `micro_f1`, `auroc`,
            `log_loss`; and `f1/<label>` for each label. NaN where not defined, such as `auroc` without an
            example of one class.
        per_class: list of dicts with `label`, `support` (int), `precision`, `recall` and `f1` (`Estimate`s).
        confusion: int array `(classes, classes)` of counts, rows are the truth; with `multi_label`
            `(classes, 2, 2)`, each `[[true negatives, false positives], [false negatives, true positives]]`.
        reliability: list of 15 dicts with `confidence` (mean), `accuracy` and `count`; with `multi_label` over all
            cells, `accuracy` being the share of cells whose label applies. NaN in an empty bin.
        distribution: dict of `edges` `(bins + 1,)` and two rows of counts by the probability that the model gave:
            `right` and `wrong` predictions; with `multi_label` cells whose label applies and does not.
        mistakes: list of up to 20 dicts, the surest first: `row`, `origin`, `preview` (str, image or None),
            `truth`, `predicted` (str) and `score`, the probability of the wrong answer.
    """

    labels: list
    examples: int
    noun: str
    multi_label: bool
    metrics: dict
    per_class: list
    confusion: np.ndarray
    reliability: list
    distribution: dict
    mistakes: list

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {name: getattr(self, name) for name in ("per_class", "confusion", "examples", "labels")}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result = next(iter(self.metrics.values()))
        span = "no interval: all examples came out the same"
        if result.low < result.high:
            span = f"95\N{NO-BREAK SPACE}% interval {100 * result.low:.1f} to {percent(result.high)}"
        noun = self.noun if self.examples > 1 else self.noun.removesuffix("s")
        words = f"of {self.examples:,} {noun} {'with every label ' * self.multi_label}right"
        return _mistakes.Headline(f"{100 * result.value:.1f}", "%", words, span, self._baseline())

    def _baseline(self):
        if self.multi_label:
            return ""
        commonest = max(self.per_class, key=lambda row: row["support"])
        share = percent(commonest["support"] / self.examples)
        return f"Always answering “{commonest['label']}” would be right for {share}."

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        made = (_details.confusion, _details.classes, _details.certainty, _details.mistakes)
        return [section(self) for section in made]


def evaluate(targets, logits, labels, frame=None, multi_label=False, **resampling):
    """Measures a classifier's logits against the truth.

    Args:
        targets: `(rows,)` int class numbers, or `(rows, classes)` of 0 and 1 with `multi_label`.
        logits: `(rows, classes)` float, before softmax or sigmoid.
        labels: sequence of `classes` different names.
        frame: pandas.DataFrame of the raw examples in the same order, for the mistakes: `text` (and `text_pair`)
            or `image`; the index holds row numbers and `attrs["origin"]` where they come from. Or None.
        multi_label: bool. Whether an example has any number of labels, each predicted at 0.5 or more.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`.

    Returns: `Evaluation`.
    Raises: UserError if shapes disagree, a target is no class, or a logit is not finite; it names the first row.
    Example: >>> print(evaluate([0, 1], [[2.0, 0.0], [0.0, 1.0]], ["no", "yes"]).metrics["accuracy"])
        1.0000 [1.0000, 1.0000]
    """
    targets, logits, labels = np.asarray(targets), np.asarray(logits), [str(label) for label in labels]
    _check(targets, logits, labels, multi_label)
    _check_rows(targets, logits, frame)
    targets, logits = targets.astype(float if multi_label else int), logits.astype(float)
    outputs = measures.prepare(targets, logits)
    estimates = bootstrap.intervals(_measures(multi_label), targets, outputs, **resampling)
    per_class = _per_class(estimates.pop("per_class"), labels, targets)
    confidence, is_true = _certainty(targets, outputs)
    return Evaluation(
        labels=labels,
        examples=len(targets),
        noun=_mistakes.noun(frame),
        multi_label=multi_label,
        metrics={**estimates, **{f"f1/{row['label']}": row["f1"] for row in per_class}},
        per_class=per_class,
        confusion=_confusion(targets, outputs.predicted.astype(int), len(labels)),
        reliability=_reliability(confidence, is_true),
        distribution=_distribution(confidence, is_true, 0.5 if len(labels) == 2 and not multi_label else 0.0),
        mistakes=_mistakes.worst(targets, outputs, labels, frame),
    )


def picture(targets, logits, labels, multi_label=False):
    """Returns the confusion matrix as a `figures.Picture`, or None with several labels an example.

    Args:
        targets, logits, labels, multi_label: as of `evaluate`.
    """
    if multi_label:
        return None
    confusion = _confusion(np.asarray(targets), np.argmax(logits, axis=1), len(labels))
    return figures.Picture("confusion", figures.confusion_figure(confusion, labels))


def example_scores(targets, logits, labels, multi_label=False):
    """Returns the name of the metric by which runs are compared, and `(rows,)` scores of which it is the mean.

    Args:
        targets, logits, labels, multi_label: as of `evaluate`.
    """
    targets, logits = np.asarray(targets), np.asarray(logits)
    _check_rows(targets, logits, None)
    is_right = measures.prepare(targets, logits.astype(float)).is_right
    return "subset_accuracy" if multi_label else "accuracy", is_right.astype(int)


def _measures(multi_label):
    names = MULTIPLE if multi_label else SINGLE
    functions = {name: getattr(measures, name.removeprefix("subset_")) for name in names}
    return {**functions, "per_class": measures.per_class}


def _per_class(estimate, labels, targets):
    support = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=len(labels))
    parts = np.stack(estimate, axis=-1)  # (precision recall f1, classes, value low high)
    rows = []
    for label, count, estimates in zip(labels, support, parts.swapaxes(0, 1), strict=True):
        precision, recall, f1 = (bootstrap.Estimate(*values) for values in estimates.tolist())
        rows.append({"label": label, "support": int(count), "precision": precision, "recall": recall, "f1": f1})
    return rows


def _confusion(targets, predicted, classes):
    if targets.ndim == 1:
        return np.bincount(targets * classes + predicted, minlength=classes**2).reshape(classes, classes)
    cells = 2 * targets.astype(int) + predicted
    return np.stack([np.bincount(column, minlength=4).reshape(2, 2) for column in cells.T])


def _certainty(targets, outputs):
    """Returns the probabilities that were given, and whether each came true, both flat."""
    if targets.ndim == 2:
        return outputs.probabilities.ravel(), targets.ravel() == 1
    return outputs.confidence, outputs.is_right


def _reliability(confidence, is_true):
    bins = measures.bins_of(confidence)
    count = np.bincount(bins, minlength=measures.BINS)
    safe = np.where(count, count, np.nan)
    means = np.bincount(bins, confidence, measures.BINS) / safe
    shares = np.bincount(bins, is_true, measures.BINS) / safe
    columns = zip(means.tolist(), shares.tolist(), count.tolist(), strict=True)
    return [dict(zip(("confidence", "accuracy", "count"), row, strict=True)) for row in columns]


def _distribution(confidence, is_true, lowest):
    edges = np.linspace(lowest, 1, 21)
    rows = {name: np.histogram(confidence[mask], edges)[0] for name, mask in (("right", is_true), ("wrong", ~is_true))}
    return {"edges": edges, **rows}


def _check(targets, logits, labels, multi_label):
    expected = (len(logits), len(labels)) if multi_label else (len(logits),)
    if len(set(labels)) < len(labels):
        raise UserError(f"labels must be different names. Received: labels={labels}")
    if logits.ndim != 2 or logits.shape[1] != len(labels) or targets.shape != expected or not len(targets):
        needed = f"({'rows, labels' if multi_label else 'rows'})"
        raise UserError(
            f"For {len(labels)} labels, logits must be (rows, {len(labels)}) and targets {needed}, with one row at "
            f"least. Received: logits of shape {logits.shape}, targets of shape {targets.shape}"
        )


def _check_rows(targets, logits, frame):
    if frame is not None and len(frame) != len(targets):
        raise UserError(f"frame must have a row for each target. Received: {len(frame)} rows, {len(targets)} targets")
    allowed = (0, 1) if targets.ndim == 2 else range(logits.shape[1])
    for what, values, is_good in (
        ("logits must be finite", logits, np.isfinite(logits)),
        (f"targets must be whole numbers from 0 to {allowed[-1]}", targets, np.isin(targets, allowed)),
    ):
        bad = np.flatnonzero(~is_good.reshape(len(targets), -1).all(axis=1))
        if len(bad):
            where = f"{_mistakes.origin(frame)}, row {_mistakes.row_number(frame, bad[0])}"
            raise UserError(f"{where}: {what} ({len(bad):,} rows are not). Received: {values[bad[0]]}")
