"""The confusion matrix of a report as inline SVG, readable from 2 classes to 100."""

from typing import NamedTuple

import numpy as np

from kerasft.evaluation._charts import label, line, title
from kerasft.evaluation._markup import clip, percent, tag


class Layout(NamedTuple):
    """Measures of a matrix in pixels.

    Attributes:
        classes: int.
        cell: side of a cell.
        letter: size of the labels' letters.
        number: size of the counts in the cells, 0 where there is no room for any.
        left: room for the labels of the rows.
        top: room for those of the columns.
        angle: degrees that the latter are turned by, since they are too long to stand side by side.
    """

    classes: int
    cell: int
    letter: int
    number: int
    left: float
    top: float
    angle: int

    def at(self, row, column):
        """Returns the upper left corner of a cell."""
        return self.left + column * self.cell, self.top + row * self.cell


# Up to so many classes: side of a cell, size of its label's letters and of its count's.
_SIZES = ((3, 92, 13, 17), (6, 64, 13, 14), (12, 46, 12, 12), (24, 28, 11, 0), (48, 17, 10, 0), (np.inf, 10, 9, 0))


def matrix(confusion, labels):
    """Returns a heat map: a row each true class, a column each predicted one, shaded by its share of the row.

    Args:
        confusion: `(classes, classes)` int counts.
        labels: list of str.
    """
    names = [clip(name, 16) for name in labels]
    layout = _layout(names)
    supports = confusion.sum(axis=1)
    drawn = _grid(layout)
    for row, column in np.argwhere(confusion).tolist():
        count, share = int(confusion[row, column]), confusion[row, column] / supports[row]
        hint = f"{labels[row]} predicted as {labels[column]}: {count:,} ({percent(share)})"
        drawn.append(tag("g", title(hint), *_cell(layout, row, column, count, share)))
    for number, name in enumerate(names):
        drawn += [_row_name(layout, number, name), _column_name(layout, number, name)]
    across, down = layout.at(len(labels), len(labels))
    box = f"0 0 {across + (layout.left * 0.62 if layout.angle == 45 else 2):.0f} {down + 2:.0f}"
    width, height = box.split()[2:]
    described = title(f"confusion matrix of {len(labels)} classes")
    return tag("svg", described, *drawn, viewBox=box, width=width, height=height, class_="matrix", role="img")


def mix_ups(confusion, labels, shown=8):
    """Returns the most frequent mistakes as `(truth, predicted, count, share of the truth)`."""
    wrong = confusion * (1 - np.eye(len(labels), dtype=int))
    supports = confusion.sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:shown]
    pairs = [divmod(int(cell), len(labels)) for cell in order if wrong.flat[cell]]
    return [(labels[t], labels[p], int(wrong[t, p]), float(wrong[t, p] / supports[t])) for t, p in pairs]


def _layout(names):
    cell, letter, number = next(sizes for most, *sizes in _SIZES if len(names) <= most)
    longest = max(map(len, names)) * letter * 0.6
    angle, top = 0, letter + 12
    if longest > cell - 4:
        angle, top = (45, longest * 0.75 + 12) if cell > 1.5 * letter else (90, longest + 12)
    return Layout(len(names), cell, letter, number, longest + 14, top, angle)


def _grid(layout):
    first, last = layout.at(0, 0), layout.at(layout.classes, layout.classes)
    every = 1 if layout.classes <= 12 else layout.classes  # beyond, lines would be all one sees
    drawn = []
    for number in range(0, layout.classes + 1, every):
        across, down = layout.at(number, number)
        drawn.append(line((across, first[1]), (across, last[1]), "ruler"))
        drawn.append(line((first[0], down), (last[0], down), "ruler"))
    return drawn


def _cell(layout, row, column, count, share):
    across, down = layout.at(row, column)
    gap = 1 if layout.number else 0
    side = layout.cell - 2 * gap
    opacity = f"{0.06 + 0.94 * share:.2f}"
    yield tag("rect", x=across + gap, y=down + gap, width=side, height=side, fill_opacity=opacity, class_="heat")
    if layout.number:
        centre = across + layout.cell / 2, down + layout.cell / 2 + layout.number * 0.35
        kind = "count on" if share > 0.5 else "count"
        yield label(*centre, f"{count:,}", style=_size(layout.number), class_=kind)


def _row_name(layout, number, name):
    across, down = layout.at(number, 0)
    middle = down + layout.cell / 2 + layout.letter * 0.35
    return label(across - 8, middle, name, "end", style=_size(layout.letter))


def _column_name(layout, number, name):
    across, down = layout.at(0, number)
    across, down = across + layout.cell / 2, down - 8
    if not layout.angle:
        return label(across, down, name, style=_size(layout.letter))
    across += layout.letter * 0.35  # the middle of the letters, not their foot, above the middle of the column
    turn = f"rotate(-{layout.angle} {across:.1f} {down:.1f})"
    return label(across, down, name, "start", style=_size(layout.letter), transform=turn)


def _size(pixels):
    return f"font-size:{pixels}px"
