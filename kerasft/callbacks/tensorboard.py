"""What a run does, for TensorBoard."""

import os
import time
from typing import Any

import keras
import tensorflow as tf

from kerasft import surgery
from kerasft.callbacks.base import waited


class TensorBoard(keras.callbacks.TensorBoard):
    """`keras.callbacks.TensorBoard` with curves by step, hyperparameters, and pictures and text of the predictions.

    Writes, in the two runs `train` and `validation` of `log_dir`:

    - `epoch/…`: loss and metrics of training and validation, and `weight_norm`, the global norm of the weights that
      learn. The step is the number of epochs done.
    - `step/…`, every `every_steps` steps and at the end of an epoch: `loss`, and the term of each objective, as means
      since the point before; `learning_rate`; `examples_per_second` without validation; `waiting_share`, that
      of the time that training waited for its data; `gradient_norm` before clipping, where the optimizer keeps it. The
      step goes on through stages and after an interruption.
    - `hparams`, as part of the run `validation`: TensorBoard's table then has a column for each hyperparameter of any
      run and for each validation metric. A list of columns of our own would be that of the first run it meets.
    - what `snapshot` returns. Each is kept for every epoch, so that TensorBoard's slider shows how it changes.

    Other steps cost no reading from the device. The graph, histograms and profiles are off; Keras's arguments turn
    them on.

    Args:
        log_dir: str. Folder of the event files, such as `saved_models/reviews/logs`.
        hparams: dict or None. Hyperparameters by name; one that is a dict itself, such as
            `{"method": {"name": "lora", "rank": 8}}`, becomes `method` and `method.rank`.
        snapshot: function without arguments, called after each epoch with validation, or None. Returns a dict of tag
            to an image as PNG bytes or a text as Markdown string.
        every_steps: int, 1 or more.
        **kwargs: of `keras.callbacks.TensorBoard`.

    Example: >>> model.fit(…, callbacks=[kerasft.callbacks.TensorBoard("logs", {"learning_rate": 5e-5})])
    Source: https://www.tensorflow.org/tensorboard/hyperparameter_tuning_with_hparams (the table).
    """

    def __init__(self, log_dir="logs", hparams=None, snapshot=None, every_steps=10, **kwargs):
        super().__init__(log_dir, **{"write_graph": False, **kwargs})
        self.hparams = flat(hparams or {})
        self.snapshot = snapshot
        self.every_steps = every_steps
        self.step = 0
        self.sums: Any = None
        self.clock: Any = None

    def on_train_begin(self, logs=None):
        from tensorboard.plugins.hparams import api

        super().on_train_begin()
        self.train_writer, self.validation_writer = surgery.summary_writers(self)
        if self.hparams:
            with self.validation_writer.as_default():
                api.hparams(self.hparams, trial_id=self._trial())

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch)
        self.begins = epoch * self.params["steps"] if self.params["steps"] else self.step
        self.sums = self.clock = None

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch)
        if self.sums is None:
            self.sums = self._sums() if batch else {}  # An epoch may go on in the middle.

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)  # Keras would write the logs under names that TensorBoard cannot group.
        self.step = self.begins + batch + 1
        if self.clock is None:
            # The first step of all waits for the graph to be traced, that of each epoch for the first rows.
            self.clock = time.monotonic(), self._sums()["loss"][1], waited(self.model)
        if self.step % self.every_steps == 0 or batch + 1 == self.params["steps"]:
            self._write("step", self._since_the_point_before(), self.train_writer, self.step)

    def on_test_end(self, logs=None):
        super().on_test_end({})  # The same numbers come with the epoch's.

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch)
        validation = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        training["weight_norm"] = tf.linalg.global_norm([weight.value for weight in self.model.trainable_weights])
        self._write("epoch", training, self.train_writer, epoch + 1)
        if validation:
            self._write("epoch", validation, self.validation_writer, epoch + 1)
            self._write_snapshot(epoch + 1)

    def _trial(self):
        """Returns what the table calls the run: its own, or equal runs would share a row; short, as only that shows."""
        parent, name = os.path.split(os.path.abspath(self.log_dir).removesuffix(f"{os.sep}logs"))
        return f"{name} in {parent}"

    def _since_the_point_before(self):
        """Returns the numbers of the steps since the last call, or since the epoch began."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        values = {"learning_rate": optimizer.learning_rate}
        if hasattr(optimizer, "gradient_norm"):
            values["gradient_norm"] = optimizer.gradient_norm
        sums = self._sums()
        for name, (total, count) in sums.items():
            total_before, count_before = self.sums.get(name, (0.0, 0.0))
            values[name] = (total - total_before) / (count - count_before)
        clock = time.monotonic(), sums["loss"][1], waited(self.model)
        seconds, rows, seconds_waited = (now - before for now, before in zip(clock, self.clock, strict=True))
        if rows > 0:
            values["examples_per_second"] = rows / seconds
            if hasattr(self.model, "waiting"):
                values["waiting_share"] = seconds_waited / seconds
        self.sums, self.clock = sums, clock
        return values

    def _sums(self):
        """Returns `{name: (sum, count)}` of the loss, counted in rows, and of the objectives' terms."""
        means = [metric for metric in self.model.metrics if isinstance(metric, keras.metrics.Mean)]
        # As tensors, since the variables of several replicas have no `float`.
        sums = {metric.name: map(tf.convert_to_tensor, (metric.total, metric.count)) for metric in means}
        return {name: tuple(map(float, values)) for name, values in sums.items()}

    def _write_snapshot(self, step):
        with self.validation_writer.as_default(step):
            for tag, shown in (self.snapshot() if self.snapshot else {}).items():
                if isinstance(shown, bytes):
                    tf.summary.image(tag, tf.io.decode_png(shown)[None])
                else:
                    tf.summary.text(tag, shown)
        self.validation_writer.flush()

    @staticmethod
    def _write(group, values, writer, step):
        with writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)
        writer.flush()


def flat(values):
    """Returns hyperparameters as TensorBoard takes them: numbers, truth values and strings, by name.

    Example: >>> flat({"method": {"name": "lora", "rank": 8}, "objectives": ["l2_sp"], "schedule": None})
        {'method': 'lora', 'method.rank': 8, 'objectives': 'l2_sp'}
    """
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            # A recipe names an argument given as an object by its class.
            own = ("name", "object")
            found.update(flat({name if key in own else f"{name}.{key}": item for key, item in value.items()}))
        elif isinstance(value, (list, tuple)):
            found[name] = ", ".join(map(_text, value))
        elif value is not None:
            found[name] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return found


def _text(value):
    if not isinstance(value, dict):
        return str(value)
    arguments = ", ".join(f"{key}={item}" for key, item in value.items() if key != "name")
    return f"{value.get('name', '')}({arguments})"
