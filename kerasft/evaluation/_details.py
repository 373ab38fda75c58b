"""The sections of a report on classes, certainty and mistakes: each from an `Evaluation` to HTML."""

from kerasft.evaluation import _charts, _matrix
from kerasft.evaluation._markup import clip, escape, percent, section, table, tag
from kerasft.evaluation._overview import decimal
from kerasft.evaluation._thumbnail import thumbnail

LONGEST_TEXT, LONGEST_LABEL = 400, 60  # letters
# Up to so many classes the matrix leaves room for a list at its side, is as wide as the page, is wider.
LAYOUTS = ((12, "split"), (48, "split stacked"), (float("inf"), "split stacked bleed"))

HOW_TO_READ = {
    "confusion": "A row is a true class, a column what was predicted; a cell is shaded by its share of the row.",
    "classes": "Precision is how often a predicted label is right, recall how many of its examples were found. "
    "The bars from 0 to 1 are 95\N{NO-BREAK SPACE}% intervals.",
    "reliability": "On the dashed line the model means what it says: of answers that it gives 80\N{NO-BREAK SPACE}%, "
    "8 of 10 are right. Below it, the model is too sure. The bars count the answers.",
    "scores": "The probability of the answer given. Wrong answers on the right were sure and wrong.",
    "label scores": "The probability given to each label. From 0.5 on it is predicted.",
    "mistakes": "The wrong answers that the model was surest of: often its blind spots, or labels that are wrong.",
}


def texts(mistakes, title, meaning, heads, digits):
    """Returns the section that lists rows of several texts; nothing without any.

    Args:
        heads: dict of the keys of `mistakes` that are shown to their heads, the last of which is a number.
        digits: int. Of that number.
    """
    *names, score = heads
    rows = [
        [
            tag("td", escape(mistake["row"]), class_="row", data_name="Row", title=mistake["origin"]),
            *(tag("td", escape(clip(mistake[name], LONGEST_TEXT)), dir="auto") for name in names),
            tag("td", f"{mistake[score]:.{digits}f}", class_="number", data_name=heads[score]),
        ]
        for mistake in mistakes
    ]
    shown = ("Row", *(heads[name] for name in names), f"#{heads[score]}")
    return section(title, meaning, card(table(shown, rows, class_="mistakes"))) if rows else ""


def confusion(evaluation):
    """Returns the confusion matrix and the most frequent mistakes in it; nothing with several labels an example."""
    if evaluation.multi_label:
        return ""
    drawn = _matrix.matrix(evaluation.confusion, evaluation.labels)
    pairs = _matrix.mix_ups(evaluation.confusion, evaluation.labels)
    rows = [
        (_label(truth), _label(answer), _number(count), _number(percent(share)))
        for truth, answer, count, share in pairs
    ]
    listed = table(("Truth", "Predicted", "#Count", "#Of truth"), rows) if rows else tag("p", "None.")
    parts = [card(drawn), card(listed, tag("h3", "Most frequent mistakes"))]
    layout = next(layout for most, layout in LAYOUTS if len(evaluation.labels) <= most)
    return section("What is taken for what", HOW_TO_READ["confusion"], tag("div", *parts, class_=layout))


def classes(evaluation):
    """Returns the table of precision, recall and F1; with several labels also what was missed and made up."""
    names = ["Label", "#Examples", "Precision", "Recall", "F1"]
    if evaluation.multi_label:
        names[2:2] = ["#Missed", "#Made up"]
    rows = []
    for row, cells in zip(evaluation.per_class, evaluation.confusion, strict=True):
        counts = [row["support"]] + ([cells[1, 0], cells[0, 1]] if evaluation.multi_label else [])
        scores = [row[name] for name in ("precision", "recall", "f1")]
        rows.append([_label(row["label"]), *map(_number, counts), *map(_measure, scores)])
    return section("Class by class", HOW_TO_READ["classes"], card(table(names, rows)))


def certainty(evaluation):
    """Returns the reliability diagram and the histograms of how sure the model was."""
    headings, words = ("Right answers", "Wrong answers"), HOW_TO_READ["scores"]
    if evaluation.multi_label:
        headings, words = ("Labels that apply", "Labels that do not"), HOW_TO_READ["label scores"]
    edges, *counts = (evaluation.distribution[name].tolist() for name in ("edges", "right", "wrong"))
    rows = [
        (f"{heading}: {sum(row):,}", row, kind)
        for row, heading, kind in zip(counts, headings, ("accent", "neutral"), strict=True)
    ]
    figures = [
        figure("Reliability", HOW_TO_READ["reliability"], _charts.reliability(evaluation.reliability, edges[0])),
        figure("Scores", words, _charts.distribution(edges, rows)),
    ]
    return section("How sure the model is", "", tag("div", *figures, class_="charts wide"))


def mistakes(evaluation):
    """Returns the surest mistakes with the examples themselves: texts in a table, images in a gallery."""
    if not evaluation.mistakes:
        return ""
    shown = _gallery(evaluation.mistakes) if evaluation.noun == "images" else card(_listed(evaluation.mistakes))
    return section("Surest mistakes", HOW_TO_READ["mistakes"], shown)


def _gallery(mistakes):
    figures = []
    for mistake in mistakes:
        truth, predicted = (tag("b", escape(clip(mistake[key], LONGEST_LABEL))) for key in ("truth", "predicted"))
        origin = f"row {escape(mistake['row'])}, {percent(mistake['score'])} sure"
        caption = tag("figcaption", f"{truth} taken for {predicted}", tag("p", origin), title=mistake["origin"])
        figures.append(tag("figure", thumbnail(mistake["preview"]), caption, class_="card"))
    return tag("div", *figures, class_="gallery")


def _listed(mistakes):
    has_preview = mistakes[0]["preview"] is not None
    rows = []
    for mistake in mistakes:
        row = [tag("td", escape(mistake["row"]), class_="row", data_name="Row", title=mistake["origin"])]
        if has_preview:
            row.append(tag("td", escape(clip(mistake["preview"], LONGEST_TEXT)), class_="input", dir="auto"))
        row += [
            _label(mistake["truth"], data_name="Truth"),
            _label(mistake["predicted"], data_name="Predicted"),
            tag("td", percent(mistake["score"]), class_="number", data_name="Sure"),
        ]
        rows.append(row)
    return table(("Row", *(["Text"] if has_preview else []), "Truth", "Predicted", "#Sure"), rows, class_="mistakes")


def card(content, *before):
    """Returns a frame around something that may be wider than the page."""
    return tag("div", *before, tag("div", content, class_="scroll"), class_="card")


def figure(heading, words, drawn):
    """Returns a chart with its heading and how to read it."""
    return tag("figure", tag("figcaption", tag("h3", heading), tag("p", words)), drawn, class_="card")


def _label(name, **attributes):
    breakable = escape(clip(name, LONGEST_LABEL)).replace("_", "_<wbr>")
    return tag("td", breakable, class_="label", dir="auto", **attributes)


def _number(value):
    return tag("td", value if isinstance(value, str) else f"{value:,}", class_="number")


def _measure(estimate):
    described = f"{decimal(estimate.low)} to {decimal(estimate.high)}"
    shown = decimal(estimate.value)[:5]
    return tag("td", shown, _charts.interval(estimate), class_="measure", title=described)
