"""The weights that a model would have, against those that a file holds."""

import math

from kerasft.inspection.limits import refused


def count(shapes):
    """Returns the number of single weights in these shapes."""
    return sum(math.prod(shape) for shape in shapes)


def check(predicted, stored, origin, tolerance=1):
    """Raises UserError if a model would have more weights than the files of its weights.

    Args:
        predicted: list of shapes of the model's weights.
        stored: list of shapes of the arrays in the files.
        origin: what messages call the model.
        tolerance: int. How many times as many it may have: weights that two layers share lie in a file once.
    """
    wanted, found = count(predicted), count(stored)
    if wanted > found * tolerance:
        raise refused(
            origin,
            f"it describes a model of {wanted:,} weights, and there are files of {found:,}",
            f"the largest of them with the shape {tuple(max(predicted, key=math.prod))}",
        )
