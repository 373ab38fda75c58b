"""What callbacks share: averages of the weights on the way, and what to say of a training that diverged."""

from typing import ClassVar

import keras
import tensorflow as tf

from kerasft import weights
from kerasft.errors import Diverged


def diverged(model, where, received):
    """Returns the error of a training whose numbers are none any more, with what can be done about it."""
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))  # Of any number of replicas.
    return Diverged(
        f"Training diverged, seen at {where}, at learning rate {rate:.2e}. Nothing of it was saved. Try a tenth of the "
        "rate, or precision='float32'; or lower_rate_on_nan=True, with which fit goes on from the last "
        f"checkpoint at a tenth of the rate, once. Received: {received}"
    )


def waited(model):
    """Returns the seconds that the training of a model waited for its data; 0 if nobody counts them."""
    return model.waiting.seconds if hasattr(model, "waiting") else 0.0


class WeightAverage(keras.callbacks.Callback):
    """Has an average of the weights in the model from each validation to the next epoch, and when training is done.

    So validation, early stopping's best weights, pictures and the saved run are all of the average, while training
    goes on with the raw weights to the very bit, through every stage of a method. What is averaged is what learns: the
    trained weights, of a delta as of a backbone, and the statistics of BatchNorm. A subclass updates `averages`.

    Keras's `use_ema` with `SwapEMAWeights` is of one optimizer, and a new stage has a new one: there the raw weights
    are lost between stages, and a weight that is unfrozen later has an average that begins at zero. It swaps by
    additions, which round, and leaves raw weights behind where training ends early.

    Must come before callbacks that keep weights, such as `EarlyStopping`.

    Attributes:
        has_statistics: bool. True if the averaged statistics of BatchNorm are those of the averaged weights; otherwise
            `fit` estimates them again at the end.
        averages: dict of path to pair of the model's variable and the `tf.Variable` of its average. While the average
            is in the model, the raw value is in its place.
    """

    has_statistics: ClassVar[bool] = True

    def __init__(self):
        super().__init__()
        self.averages = {}
        self.count = tf.Variable(0, dtype="int64", trainable=False)
        self.in_model = tf.Variable(0, dtype="int64", trainable=False)

    @property
    def state(self):
        """All `tf.Variable`s that an interrupted run needs to go on, by name; the checkpoint keeps them."""
        return {"count": self.count, "in_model": self.in_model, **{k: v for k, (_, v) in self.averages.items()}}

    def on_train_begin(self, logs=None):
        before, self.averages = self.averages, {}
        for path, variable in weights.learned(self.model).items():
            known = before.get(path)
            is_same = known is not None and known[0] is variable
            self.averages[path] = known if is_same else (variable, tf.Variable(variable.numpy(), trainable=False))

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:  # Of a new training; this object may have seen another one.
            self.count.assign(0)
            self.in_model.assign(0)
            for variable, average in self.averages.values():
                average.assign(variable)
        if self.in_model.numpy():
            self._swap()

    def on_test_begin(self, logs=None):
        self._put_in()

    def on_epoch_end(self, epoch, logs=None):
        self._put_in()

    def _put_in(self):
        if self.count.numpy() and not self.in_model.numpy():
            self._swap()

    def _swap(self):
        for variable, average in self.averages.values():
            value = variable.numpy().copy()  # An array may share the memory of the variable.
            variable.assign(average)
            average.assign(value)
        self.in_model.assign(1 - self.in_model)
