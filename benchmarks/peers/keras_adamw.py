"""The suites' optimizer in plain Keras: AdamW, 10 % warm-up, linear decay, no decay of biases and norms."""

import keras


class WarmUpLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 to `learning_rate` in a tenth of the steps, then falls to 0; Keras has no such schedule."""

    def __init__(self, learning_rate, steps):
        self.learning_rate, self.steps = learning_rate, steps

    def __call__(self, step):
        step, warm_up = keras.ops.cast(step, "float32"), max(1.0, 0.1 * self.steps)
        rise, fall = step / warm_up, (self.steps - step) / (self.steps - warm_up)
        return self.learning_rate * keras.ops.maximum(keras.ops.minimum(rise, fall), 0.0)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "steps": self.steps}


def adamw(learning_rate, steps):
    """Returns the optimizer; `steps` is the number of updates of the whole training."""
    schedule = WarmUpLinearDecay(learning_rate, steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
