"""The sections of a report on predicted numbers: each from an `Evaluation` to HTML."""

import numpy as np

from kerasft.evaluation import _charts
from kerasft.evaluation._details import LONGEST_TEXT, card, figure
from kerasft.evaluation._markup import clip, escape, section, table, tag

POINTS = 1000  # More would only cover each other.

HOW_TO_READ = {
    "scatter": "A point is an example: its true value to the right, the answer upwards. Right answers lie on the "
    "dashed line.",
    "errors": "Answer minus truth: in the middle of 0 if the model is not always too high or too low.",
    "listed": "The answers that are farthest from the truth: often the model's blind spots, or values that are wrong.",
}


def scatter(evaluation):
    """Returns answers against truth, and the histogram of the errors."""
    rows = np.random.default_rng(0).permutation(evaluation.examples)[:POINTS]
    drawn = _charts.scatter(evaluation.truth[rows], evaluation.predicted[rows])
    errors = evaluation.predicted - evaluation.truth
    figures = [
        figure("Answers", HOW_TO_READ["scatter"], drawn),
        figure("Errors", HOW_TO_READ["errors"], _charts.histogram(errors)),
    ]
    return section("How close the answers are", "", tag("div", *figures, class_="charts wide"))


def listed(evaluation):
    """Returns the largest errors with the examples themselves."""
    has_preview = evaluation.mistakes[0]["preview"] is not None
    rows = []
    for mistake in evaluation.mistakes:
        row = [tag("td", escape(mistake["row"]), class_="row", data_name="Row", title=mistake["origin"])]
        if has_preview:
            row.append(tag("td", escape(clip(mistake["preview"], LONGEST_TEXT)), class_="input", dir="auto"))
        row += [_number(mistake[name], name.title()) for name in ("truth", "predicted")]
        rows.append([*row, _number(mistake["predicted"] - mistake["truth"], "Error")])
    heads = ("Row", *(["Text"] if has_preview else []), "#Truth", "#Predicted", "#Error")
    return section("Largest errors", HOW_TO_READ["listed"], card(table(heads, rows, class_="mistakes")))


def _number(value, name):
    return tag("td", f"{value:.4g}", class_="number", data_name=name)
