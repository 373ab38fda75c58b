"""Figures for where only pictures can be shown, such as TensorBoard; a report draws its own."""

import io
import warnings
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LARGEST_WITH_COUNTS = 12  # classes


class Picture(NamedTuple):
    """A Matplotlib figure, and what it shows in one word."""

    name: str
    figure: Figure


def confusion_figure(confusion, labels):
    """Returns a heat map: a row each true class, a column each predicted one, shaded by its share of the row.

    Args:
        confusion: `(classes, classes)` int counts.
        labels: sequence of str.

    Returns: `matplotlib.figure.Figure`, not known to pyplot, so that nothing has to be closed.
    """
    confusion = np.asarray(confusion)
    classes = len(labels)
    side = min(max(4.5, 0.45 * classes + 2), 14)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    # Labels are no formulas: a dollar sign in one must not start mathematics.
    names = [str(label).replace("$", r"\$") for label in labels]
    size = min(10, 10 * 28 / max(classes, 28))
    is_narrow = classes * max(map(len, names)) > 24
    axes.set_xticks(range(classes), names, rotation=90 if is_narrow else 0, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.spines[:].set_visible(False)
    if classes <= LARGEST_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(confusion):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    return figure


def scatter_figure(truth, predicted):
    """Returns a point an example, above its true value what was predicted; right ones lie on the dashed line.

    Args:
        truth, predicted: `(rows,)` float.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(truth, predicted, s=12, alpha=0.5, linewidths=0)
    axes.axline((truth[0], truth[0]), slope=1, color="grey", linestyle="--", linewidth=1)
    axes.set_xlabel("truth")
    axes.set_ylabel("predicted")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def to_png(figure):
    """Returns a Matplotlib figure as PNG bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # one for each letter that the font lacks
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
