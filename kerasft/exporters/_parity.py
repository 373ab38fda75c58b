"""The gate every export passes: it answers as `predict` does, or there is no export."""

import numpy as np
import tensorflow as tf

from kerasft.pipeline.clean import brief

TOLERANCE = 1e-5  # Of the greatest number, or of 1.
ROWS = 5  # A request is as wide as its longest text: in small ones, short texts do not wait for long ones.


def check(tuner, answer, beginning=""):
    """Asks the export and `predict` the same and compares each output of each row.

    Args:
        tuner: FineTuner.
        answer: function of a dict of input arrays to a dict of output arrays, by the names of the signature.
        beginning: str. Of the names of those outputs that the signature has, which leaves it out.

    Raises: RuntimeError that names the first input and output that differ, and both values.
    """
    for frame in _frames(tuner):
        request = tuner.task.request(frame)
        found = {name: value for name, value in tuner.decoded(frame).items() if name.startswith(beginning)}
        expected = {name.removeprefix(beginning): value.numpy() for name, value in found.items()}
        _compare(request, expected, _answered(answer, request))
    nothing = {name: values[:0] for name, values in request.items()}
    _compare(nothing, {name: values[:0] for name, values in expected.items()}, _answered(answer, nothing))


def _frames(tuner):
    for frame in (tuner.samples, tuner.task.edge_cases()):
        if frame is not None:
            yield from (frame.iloc[start : start + ROWS] for start in range(0, len(frame), ROWS))


def _answered(answer, request):
    try:
        return answer(request)
    except tf.errors.OpError as error:
        rows = len(next(iter(request.values())))
        raise RuntimeError(f"The exported model fails on {rows} rows: {error.message}") from error


def _compare(request, expected, exported):
    if sorted(expected) != sorted(exported):
        raise RuntimeError(f"predict gives {sorted(expected)}. Received: {sorted(exported)} from the exported model")
    for name, values in expected.items():
        if (_shape(values), values.dtype) != (_shape(exported[name]), exported[name].dtype):
            wanted, got = (f"{array.dtype} {array.shape}" for array in (values, exported[name]))
            raise RuntimeError(f"Output {name!r} must be {wanted}. Received: {got} from the exported model")
        rows = np.flatnonzero(_differs(values, exported[name]))
        if len(rows):
            raise RuntimeError(_difference(request, rows, name, values, exported[name]))


def _shape(array):
    """Returns the shape; without rows, of which some outputs are as wide as the longest, only how many sides it has."""
    return array.shape if len(array) else array.ndim


def _differs(expected, exported):
    """Returns a bool for each row; a score that is no number differs from everything."""
    if not len(expected):
        return np.zeros(0, bool)
    if expected.dtype == object:
        differs = expected != exported
    else:
        greatest = np.abs(expected).max(initial=1.0)
        differs = ~(np.abs(expected - exported) <= TOLERANCE * greatest)
    return differs.reshape(len(differs), -1).any(axis=1) if differs.size else np.zeros(0, bool)


def _difference(request, rows, name, expected, exported):
    row = rows[0]
    asked = ", ".join(f"{key}={brief(values[row])}" for key, values in request.items())
    return (
        f"The exported model does not answer as predict does (scores may differ by {TOLERANCE:g}), so it is not kept. "
        f"{len(rows)} of {len(expected)} rows differ; the first: {asked}. "
        f"Output {name!r} of predict: {expected[row]}. Received: {exported[row]} from the exported model"
    )
