"""The callback that times `keras.Model.fit`, for every job that trains with Keras."""

import keras


class Clock(keras.callbacks.Callback):
    """Passes Keras's events on to a `Stopwatch`. The first step includes the tracing of the graph."""

    def __init__(self, stopwatch):
        super().__init__()
        self.stopwatch = stopwatch

    def on_train_begin(self, logs=None):
        self.stopwatch.begin()

    def on_train_batch_end(self, batch, logs=None):
        self.stopwatch.step()

    def on_train_end(self, logs=None):
        self.stopwatch.end()
