"""What a model of a config that others may have written would take, before it is built."""

import concurrent.futures
import random

from kerasft.inspection import sizes


def check_size(build, stored, origin, tolerance=1):
    """Raises UserError if a model would have more weights than the files of its weights, before it has any.

    Args:
        build: function that makes the model, with random weights.
        stored: list of shapes of the arrays in the files.
        origin: what messages call the model.
        tolerance: int. As in `sizes.check`.
    """
    sizes.check(shapes_of(build), stored, origin, tolerance)


def shapes_of(build):
    """Returns the shapes of the weights of the model that `build` makes, without memory for any of them.

    Keras gives no values to variables that are made in a stateless scope, and keeps a list, for each thread, of those
    to fill later. So this has a thread of its own, whose list goes with it.
    """
    state = random.getstate()  # Initializers draw seeds from it; the model that is built next must get the same.
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(_shapes, build).result()
    finally:
        random.setstate(state)


def _shapes(build):
    import keras

    with keras.StatelessScope(initialize_variables=False):
        return [tuple(weight.shape) for weight in build().weights]
