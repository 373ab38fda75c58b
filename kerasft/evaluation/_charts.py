"""The small charts of a report: inline SVG whose colours come from the page, so that they follow light and dark."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from kerasft.evaluation._markup import escape, tag

WIDTH, LEFT, RIGHT = 320, 40, 312


class Axes:
    """Maps numbers to the pixels of a plot.

    Args:
        x: pair of numbers, the left and right end.
        y: pair of numbers, the lower and upper end.
        top: float. Pixels above the plot.
        bottom: float. Pixel of its lower edge.
    """

    def __init__(self, x, y, top, bottom):
        self.x, self.y, self.top, self.bottom = x, y, top, bottom

    def at(self, x, y):
        """Returns the pixels `(across, down)` of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (RIGHT - LEFT), self.bottom - up * (self.bottom - self.top)

    def rulers(self, ticks):
        """Returns horizontal lines with their numbers."""
        drawn = []
        for tick in ticks:
            _, down = self.at(self.x[0], tick)
            drawn += [line((LEFT, down), (RIGHT, down), "ruler"), label(LEFT - 6, down + 4, _number(tick), "end")]
        return "".join(drawn)

    def numbers(self, ticks):
        """Returns the numbers below the plot."""
        return "".join(label(self.at(tick, self.y[0])[0], self.bottom + 16, _number(tick)) for tick in ticks)


def curve(name, training, validation):
    """Returns the course of one number over the epochs; what is not finite leaves a gap."""
    finite = [value for value in [*training, *validation] if math.isfinite(value)]
    ticks = _ticks(min(finite, default=0), max(finite, default=1))
    epochs = max(len(training), len(validation))
    axes = Axes((1, epochs) if epochs > 1 else (0.5, 1.5), (ticks[0], ticks[-1]), top=12, bottom=150)
    epoch_ticks = [tick for tick in _ticks(1, max(epochs, 2), integer=True) if 1 <= tick <= epochs]
    lines = _course(axes, training, "training") + _course(axes, validation, "validation")
    return chart(axes.rulers(ticks) + axes.numbers(epoch_ticks) + lines, 176, f"{name} over {epochs} epochs")


def reliability(bins, lowest):
    """Returns accuracy against confidence, a dot a bin, its area by its count, and a histogram below."""
    filled = [row for row in bins if row["count"]]
    most = max(row["count"] for row in filled)
    axes = Axes((lowest, 1), (0, 1), top=12, bottom=190)
    points = [axes.at(max(row["confidence"], lowest), row["accuracy"]) for row in filled]
    dots = [
        tag("circle", title(_bin_title(row)), cx=x, cy=y, r=2.5 + 4 * math.sqrt(row["count"] / most), class_="dot")
        for row, (x, y) in zip(filled, points, strict=True)
    ]
    histogram = Axes((lowest, 1), (0, most), top=218, bottom=262)
    drawn = [
        axes.rulers([0, 0.25, 0.5, 0.75, 1]),
        line(axes.at(lowest, lowest), axes.at(1, 1), "ideal"),
        polyline(points, "validation"),
        *dots,
        *_bars(histogram, np.linspace(0, 1, len(bins) + 1), [row["count"] for row in bins], "neutral"),
        line((LEFT, histogram.bottom), (RIGHT, histogram.bottom), "axis"),
        histogram.numbers(_shares(lowest)),
    ]
    return chart("".join(drawn), 288, "accuracy against confidence")


def distribution(edges, rows):
    """Returns a histogram above the other, each with a scale of its own.

    Args:
        edges: the `bins + 1` edges of the bins.
        rows: two triples of heading, counts and colour class.
    """
    drawn = []
    for number, (heading, counts, kind) in enumerate(rows):
        axes = Axes((edges[0], edges[-1]), (0, max(max(counts), 1)), top=34 + 132 * number, bottom=124 + 132 * number)
        drawn.append(label(LEFT, axes.top - 14, heading, "start", class_="heading"))
        drawn.append(axes.rulers([0, max(counts)] if max(counts) else [0]))
        drawn += _bars(axes, edges, counts, kind)
    drawn.append(axes.numbers(_shares(edges[0])))
    return chart("".join(drawn), 288, "how sure the model was")


def scatter(truth, predicted):
    """Returns a point an example, its prediction against the truth, and the dashed line on which both are equal."""
    both = np.concatenate([truth, predicted])
    ticks = _ticks(float(both.min()), float(both.max()))
    ends = ticks[0], ticks[-1]
    axes = Axes(ends, ends, top=12, bottom=262)
    points = [axes.at(*pair) for pair in zip(truth.tolist(), predicted.tolist(), strict=True)]
    dots = [tag("circle", cx=x, cy=y, r=2.5, class_="dot faint") for x, y in points]
    ideal = line(axes.at(ticks[0], ticks[0]), axes.at(ticks[-1], ticks[-1]), "ideal")
    return chart("".join([axes.rulers(ticks), ideal, *dots, axes.numbers(ticks)]), 288, "predictions against truth")


def histogram(values, bins=21):
    """Returns how many values fall where; the middle bin has 0 in its middle."""
    ends = np.abs(values).max(initial=0) or 1.0
    counts, edges = np.histogram(values, bins, (-ends, ends))
    axes = Axes((-ends, ends), (0, max(counts.max(), 1)), top=12, bottom=262)
    bars = _bars(axes, edges.tolist(), counts.tolist(), "accent")
    ticks = [tick for tick in _ticks(-ends, ends) if abs(tick) <= ends]
    drawn = [axes.rulers([0, int(counts.max())]), *bars, axes.numbers(ticks)]
    return chart("".join(drawn), 288, "how far off the predictions are")


def interval(estimate, ends=(0, 1)):
    """Returns a line from the lower to the upper end of an `Estimate`, a dot at its value, on a thin track."""

    def across(value):
        return 4 + 112 * min(max((value - ends[0]) / (ends[1] - ends[0]), 0), 1)

    track = line((4, 7), (116, 7), "ruler")
    if not math.isfinite(estimate.value):
        return tag("svg", track, viewBox="0 0 120 14", class_="interval", aria_hidden="true")
    dot = tag("circle", cx=across(estimate.value), cy=7, r=2.5, class_="dot")
    span = line((across(estimate.low), 7), (across(estimate.high), 7), "span") if math.isfinite(estimate.low) else ""
    return tag("svg", track, span, dot, viewBox="0 0 120 14", class_="interval", aria_hidden="true")


def chart(content, height, description):
    """Returns the SVG of a chart 320 units wide."""
    box = f"0 0 {WIDTH} {height}"
    return tag("svg", title(description), content, viewBox=box, class_="chart", role="img")


def title(text):
    """Returns what a browser shows when the mouse rests on the element around it."""
    return tag("title", escape(text))


def label(x, y, text, anchor="middle", **attributes):
    """Returns a text at a point."""
    return tag("text", escape(text), x=float(x), y=float(y), text_anchor=anchor, **attributes)


def line(start, end, kind):
    """Returns a straight line of a class."""
    return tag("line", x1=float(start[0]), y1=float(start[1]), x2=float(end[0]), y2=float(end[1]), class_=kind)


def polyline(points, kind):
    """Returns a line through points."""
    return tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=f"course {kind}")


def _bars(axes, edges, counts, kind):
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            (start, top), (end, _) = axes.at(max(left, axes.x[0]), count), axes.at(right, count)
            height = max(axes.bottom - top, 1.0)  # visible however small
            size = {"x": start + 0.5, "y": axes.bottom - height, "width": end - start - 1, "height": height}
            yield tag("rect", title(f"{left:.2f} to {right:.2f}: {count:,}"), class_=kind, **size)


def _course(axes, values, kind):
    points = [axes.at(i, value) if math.isfinite(value) else None for i, value in enumerate(values, 1)]
    runs, run = [], []
    for point in [*points, None]:
        if point:
            run.append(point)
        elif run:
            runs.append(run)
            run = []
    dots = [
        tag("circle", title(f"epoch {i}: {value:.4g}"), cx=point[0], cy=point[1], r=2.5, class_=f"mark {kind}")
        for i, (point, value) in enumerate(zip(points, values, strict=True), 1)
        if point and len(values) <= 30
    ]
    return "".join([*(polyline(run, kind) for run in runs), *dots])


def _ticks(low, high, integer=False):
    if low == high:
        low, high = low - abs(low or 1) / 10, high + abs(high or 1) / 10
    ticks = MaxNLocator(4, integer=integer, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks]


def _shares(lowest):
    return [tick for tick in (0, 0.25, 0.5, 0.75, 1) if tick >= lowest]


def _number(value):
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.4g}"


def _bin_title(row):
    return f"confidence {row['confidence']:.3f}, accuracy {row['accuracy']:.3f}, {row['count']:,} examples"
