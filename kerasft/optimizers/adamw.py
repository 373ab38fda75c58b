"""Adam with decoupled weight decay, clipped by global norm, right on any number of replicas."""

import keras
import tensorflow as tf

from kerasft import shared
from kerasft.errors import UserError
from kerasft.surgery import ClipAfterReduce, RatesByWeight, adam_slots, optimized

LARGE = 2**16  # Numbers of a weight from which on a kernel of its own is worth the time of its call.


class _FusedAdam(keras.optimizers.AdamW):
    """Keras's formula in one kernel of TensorFlow, without its temporary copies of each weight."""

    scale = None  # Of the gradients, within `apply`, where updates clip.

    def apply(self, grads, trainable_variables=None):
        # What is the same for all weights is made once: each operation of a graph takes time before the first step.
        self.scalars = {before: self._scalars_after(before) for before in {0, *self.joined.values()}}
        super().apply(grads, trainable_variables)
        self.scalars, self.scale = {}, None  # They would keep the graph of the step in memory.

    def _scalars_after(self, before):
        """Returns what the update of a weight needs that was left alone in so many updates: its moments are young."""
        step = tf.cast(self.iterations + 1 - before, "float32")
        scalars = {"beta1_power": self.beta_1**step, "beta2_power": self.beta_2**step}
        scalars |= {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        return {name: tf.convert_to_tensor(value, "float32") for name, value in scalars.items()}

    def scalars_of(self, variable):
        """Returns those of a weight."""
        return self.scalars[self.joined.get(id(optimized(self, variable)), 0)]

    def update_step(self, gradient, variable, learning_rate):
        momentum, velocity = adam_slots(self, variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
            **{name: tf.cast(value, variable.dtype) for name, value in self.scalars_of(variable).items()},
        )


@keras.saving.register_keras_serializable("kerasft")
class AdamW(ClipAfterReduce, RatesByWeight, _FusedAdam):
    """`keras.optimizers.AdamW` with gradient clipping after the sum over replicas and a fused update.

    The update passes over memory as seldom as TensorFlow's kernels allow. Leave `clipnorm` and its kin unset: they clip
    each replica alone.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float. Share of a weight taken off per step and unit of learning rate.
        clip_norm: float or None. Greatest global norm of the gradient.
        **kwargs: of `keras.optimizers.AdamW`.

    Raises: UserError for `amsgrad`, which the fused kernel does not have.
    Source: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2.
    """

    def __init__(self, learning_rate=5e-5, weight_decay=0.01, clip_norm=1.0, **kwargs):
        if kwargs.get("amsgrad"):
            raise UserError("adamw has no amsgrad; give a keras.optimizers.AdamW. Received: amsgrad=True")
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.clip_norm = clip_norm

    def build(self, variables):
        super().build(variables)
        self.gradient_norm = tf.Variable(
            0.0,
            trainable=False,
            name="gradient_norm",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def clipped(self, gradients, norm):
        """Leaves it to the updates where there is one processor, as its memory is what they wait for."""
        if not _is_one_processor():
            return super().clipped(gradients, norm)
        # As `tf.clip_by_global_norm`: with a norm that is not finite, nothing is.
        self.scale = self.clip_norm * tf.minimum(1 / norm, 1 / self.clip_norm) + (norm - norm)
        return gradients

    def update_kept(self, gradient, variable, learning_rate, kept):
        """Does all that is done to a large weight in one pass over memory, on a processor."""
        is_large = variable.dtype == tf.float32 and variable.shape.num_elements() >= LARGE
        if is_large and _is_one_processor():
            shares = [1.0 if share is None else share for share in (self.scale, kept)]
            numbers = [*shares, learning_rate, *self.scalars_of(variable).values()]
            numbers = tf.stack([tf.convert_to_tensor(number, "float32") for number in numbers])
            update = _update_rows if isinstance(gradient, tf.IndexedSlices) else _update
            update((variable, *adam_slots(self, variable)), gradient, numbers)
            return
        if self.scale is not None:
            gradient = tf.convert_to_tensor(gradient) * tf.cast(self.scale, gradient.dtype)
        super().update_kept(gradient, variable, learning_rate, kept)

    def get_config(self):
        return {**super().get_config(), "clip_norm": self.clip_norm}


def _is_one_processor():
    return tf.distribute.get_strategy().num_replicas_in_sync == 1 and shared.is_on_processors()


@tf.function(jit_compile=True)
def _update(slots, gradient, numbers):
    """Clips, decays and updates a weight.

    Args:
        slots: tf.Variables of one shape, the weight and its moments. gradient: of that shape, or one number for all.
        numbers: `(8,)`. Of the gradient what clipping leaves, of the weight what decay leaves, the learning rate, and
            the optimizer's `scalars`.
    """
    for slot, value in zip(slots, _moved(slots, gradient, numbers), strict=True):
        slot.assign(value)


def _update_rows(slots, gradient, numbers):
    """Does the same with the gradient of an embedding, without the zeros of all rows that it does not name.

    Args:
        slots, numbers: as of `_update`. gradient: tf.IndexedSlices that names no row twice.
    """
    moved = _moved([tf.gather(slot, gradient.indices) for slot in slots], gradient.values, numbers)
    _update(slots, tf.constant(0.0), numbers)
    for slot, rows in zip(slots, moved, strict=True):
        slot.scatter_update(tf.IndexedSlices(rows, gradient.indices))


def _moved(slots, gradient, numbers):
    """Returns a weight and its moments after a step."""
    weight, momentum, velocity = slots
    scale, kept, rate, beta1_power, beta2_power, beta1, beta2, epsilon = tf.unstack(numbers)
    rate = rate * tf.sqrt(1 - beta2_power) / (1 - beta1_power)
    gradient = gradient * scale
    mean = momentum + (gradient - momentum) * (1 - beta1)
    square = velocity + (gradient * gradient - velocity) * (1 - beta2)
    return weight * kept - rate * mean / (tf.sqrt(square) + epsilon), mean, square
