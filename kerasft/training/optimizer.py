"""The optimizer of a stage: by name, dict or object, with a schedule over the steps at hand."""

import keras

from kerasft import registry
from kerasft.errors import UserError


def make(optimizer, schedule, learning_rate, total_steps):
    """Returns a Keras optimizer.

    Args:
        optimizer: None (AdamW), a name or dict of kerasft's or Keras's, or a Keras optimizer, used as it is.
        schedule: None (linear with 10 % warm-up), a name or dict of `kerasft/schedules/`, or a Keras schedule.
        learning_rate: float. The peak.
        total_steps: int. Updates of the stage.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        if schedule is not None:
            raise UserError(f"An optimizer object has its own learning rate. Received: schedule={schedule!r} with it")
        return optimizer
    arguments = {"name": optimizer} if isinstance(optimizer, str) else dict(optimizer or {"name": "adamw"})
    name = arguments.pop("name", None)
    arguments["learning_rate"] = _schedule(schedule, learning_rate, total_steps)
    if name in registry.names("optimizers"):
        return registry.get("optimizers", {"name": name, **arguments})
    try:
        return keras.optimizers.get({"class_name": name, "config": arguments})
    except (ValueError, TypeError) as error:
        own = ", ".join(registry.names("optimizers"))
        raise UserError(
            f"No such optimizer ({error}). kerasft has: {own}. Received: optimizer={optimizer!r}"
        ) from error


def spare_from_decay(optimizer, variables):
    """Excludes biases and the scales and shifts of normalisation from weight decay (Devlin et al. 2018)."""
    if getattr(optimizer, "weight_decay", None):
        spared = ("bias", "gamma", "beta", "scale")
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if v.path.split("/")[-1] in spared])


def _schedule(schedule, learning_rate, total_steps):
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    arguments = {"name": schedule} if isinstance(schedule, str) else dict(schedule or {"name": "linear"})
    return registry.get("schedules", {"learning_rate": learning_rate, "total_steps": total_steps, **arguments})
