"""The picture of a comparison: the score against what it costs."""

import itertools
import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from kerasft.evaluation import figures

PANELS = {
    "trained_weights": "trained weights",
    "training_seconds": "seconds of training",
    "peak_memory_mb": "peak memory, MB",
}
BLUE, GREY = "#1f77b4", "#7f7f7f"
# Where a label may be, in points from its marker: near first, and further away with a line where others are in the way.
DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 2), (1, -2), (-1, 2), (-1, -2))
DISTANCES = (6, 14, 24, 36, 50, 66, 84)
NEAR = 6


def png(result):
    """Returns three panels as PNG bytes: score against weights trained (log), seconds and memory.

    Error bars are the 95 % intervals of the scores; variants that do not differ from the baseline are grey.
    """
    known = {key: title for key, title in PANELS.items() if all(row.figures[key] is not None for row in result.table)}
    figure = Figure(figsize=(4.6 * len(known), 2.6 + 0.18 * max(len(result.table), 8)), layout="constrained")
    seeds = f"{len(result.seeds)} seeds" if len(result.seeds) > 1 else "1 seed"
    title = f"{result.metric} on {result.scored_on}, {seeds}, 95 % intervals; grey may equal {result.baseline} (square)"
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
    for axes, (key, title) in zip(panels, known.items(), strict=True):
        _panel(axes, result, key, title)
    panels[0].set_ylabel(result.metric)
    FigureCanvasAgg(figure).draw()  # Labels are put between what is drawn, whose places are known only now.
    figure.set_layout_engine("none")
    for axes, key in zip(panels, known, strict=True):
        _label(axes, result.table, key)
    return figures.to_png(figure)


def _panel(axes, result, key, title):
    for row in result.table:
        value, low, high = row.score
        color = GREY if row.verdict == "=" else BLUE
        x, errors = row.figures[key], [[value - low], [high - value]]
        marker = "s" if row.variant == result.baseline else "o"
        axes.errorbar(x, value, errors, fmt=marker, color=color, markersize=5, elinewidth=0.8, alpha=0.9)
    axes.set_xlabel(title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.22, y=0.12)
    if key == "trained_weights":
        axes.set_xscale("log")
        axes.margins(x=0.3)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _label(axes, table, key):
    """Writes the name beside each marker, at the nearest place where it covers nothing, or else the least."""
    taken = [box for row in table for box in _boxes(axes, row, key)]
    for row in table:
        label = _annotation(axes, row, key)
        places = itertools.product(DISTANCES, DIRECTIONS)
        offset = _free_place(label, [(right * far, up * far) for far, (right, up) in places], taken)
        taken.append(_moved(label, offset))


def _free_place(label, offsets, taken):
    inside, best, least = label.axes.get_window_extent(), offsets[0], math.inf
    for offset in offsets:
        box = _moved(label, offset)
        covered = sum(_shared(box, other) for other in taken) + 10 * (_area(box) - _shared(box, inside))
        if covered < least - 1e-6:
            best, least = offset, covered
        if least < 1e-6:
            break
    return best


def _moved(label, offset):
    """Puts a label at an offset in points from its marker, and returns what it covers there, in pixels."""
    right, up = offset
    label.set_position(offset)
    label.set_horizontalalignment("left" if right > 0 else "right" if right < 0 else "center")
    label.set_verticalalignment("bottom" if up > 0 else "top" if up < 0 else "center")
    label.arrow_patch.set_visible(max(abs(right), abs(up)) > NEAR)
    renderer = label.figure.canvas.get_renderer()
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer).padded(2)  # Without the line, which must touch the marker.


def _annotation(axes, row, key):
    return axes.annotate(
        row.variant.replace("$", r"\$"),
        (row.figures[key], row.score.value),
        (0, 0),
        textcoords="offset points",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
    )


def _boxes(axes, row, key):
    """Returns the places of a marker and of its error bar, in pixels."""
    x, (value, low, high) = row.figures[key], row.score
    (left, y), (_, bottom), (_, top) = axes.transData.transform([(x, value), (x, low), (x, high)])
    return Bbox.from_extents(left - 5, y - 5, left + 5, y + 5), Bbox.from_extents(left - 2, bottom, left + 2, top)


def _shared(box, other):
    common = Bbox.intersection(box, other)
    return _area(common) if common else 0.0


def _area(box):
    return box.width * box.height
