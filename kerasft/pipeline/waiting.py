"""How long a training waits for its batches."""

import tensorflow as tf

from kerasft import surgery
from kerasft.pipeline.text import quiet_options


class Waiting:
    """Counts the seconds from when a batch is asked for to when it is there; `seconds` of all batches so far.

    A batch that was made ahead of need takes none.
    """

    def __init__(self):
        self.seconds = 0.0

    def timed(self, dataset):
        """Returns the same `tf.data.Dataset`, counted; it must be the last stage, which nothing fetches ahead from."""
        now = tf.data.Dataset.range(1).repeat().map(lambda _: tf.timestamp())

        def add(seconds):
            self.seconds += float(seconds)

        def count(asked, batch, given):
            with tf.control_dependencies([tf.numpy_function(add, [given - asked], [])]):
                return tf.nest.map_structure(tf.identity, batch)

        # The elements of a zip are made one after the other.
        made = tf.data.Dataset.zip(now, tf.data.Dataset.zip(dataset), now).map(count).with_options(quiet_options())
        surgery.leave_to_dataset(add)
        return made
