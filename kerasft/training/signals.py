"""Being asked to stop, by Ctrl-C or by whoever runs the machine."""

import os
import signal
import threading


class Signals:
    """Within it, SIGINT and SIGTERM are noted for the training to save and leave; the second one leaves at once.

    Python lets only the main thread have handlers: in others, signals do what they did.

    Attributes:
        received: str. Name of the signal, or empty.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.received = ""
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._handle) for number in self.HANDLED}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number, _):
        if self.received:
            os._exit(128 + number)  # What is saved is whole: nothing to clean up.
        self.received = signal.Signals(number).name
