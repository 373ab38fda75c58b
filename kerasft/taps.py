"""Places in a model where one forward pass can be read or changed, for objectives that look inside it."""

import contextlib
import functools
import threading

from kerasft import surgery


class Tap:
    """Lets functions change what one layer returns, for a while and in the thread that asks for it.

    Args:
        layer: keras.layers.Layer. Its `call` is wrapped for good; without a function it does what it did.
    """

    def __init__(self, layer):
        self.local = threading.local()
        layer.call = functools.partial(self._call, layer.call)

    @contextlib.contextmanager
    def through(self, function):
        """Has `function` applied to the layer's outputs. Inner functions get what outer ones return."""
        self.local.functions = (*self._functions(), function)
        try:
            yield
        finally:
            self.local.functions = self.local.functions[:-1]

    @contextlib.contextmanager
    def reading(self):
        """Gives a list that the layer's outputs are added to, call by call."""
        found = []

        def read(outputs):
            found.append(outputs)
            return outputs

        with self.through(read):
            yield found

    def _functions(self):
        return getattr(self.local, "functions", ())

    def _call(self, call, *args, **kwargs):
        outputs = call(*args, **kwargs)
        for function in () if getattr(_silence, "on", False) else self._functions():
            outputs = function(outputs)
        return outputs


def tap(layer):
    """Returns the `Tap` of a layer; there is one, however often it is asked for."""
    if not is_tapped(layer):
        layer.tap = Tap(layer)
    return layer.tap


def is_tapped(layer):
    """Returns True if the layer has a `Tap`."""
    return isinstance(getattr(layer, "tap", None), Tap)


def is_seen_into(layer):
    """Returns True if the layer or one within it has a `Tap`."""
    return any(map(is_tapped, (layer, *surgery.all_layers(layer))))


@contextlib.contextmanager
def silenced():
    """Has all taps of this thread let pass what they get, for a while."""
    _silence.on = True
    try:
        yield
    finally:
        _silence.on = False


_silence = threading.local()
