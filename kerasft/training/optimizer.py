"""The optimizer of a stage: by name, dict or object, with a schedule over the steps at hand."""

import math
import numbers

import keras

from kerasft import registry, surgery, weights
from kerasft.errors import UserError, nearest

OBJECTS = (keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule)
SETTING_RATES = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def make(optimizer, schedule, learning_rate, total_steps, factors=None):
    """Returns a Keras optimizer.

    Args:
        optimizer: None (AdamW), a name or dict of kerasft's or Keras's, or a Keras optimizer, of which a copy is made.
        schedule: None (linear with 10 % warm-up), a name or dict of `kerasft/schedules/`, or a Keras schedule.
        learning_rate: float. The peak.
        total_steps: int. Updates from the first to the last of the schedule.
        factors: dict or None. `{id(variable): factor}` of weights whose learning rate is another.
    """
    made = _make(optimizer, schedule, learning_rate, total_steps)
    if factors:
        made = surgery.with_rates(made, factors)
    return made


def _make(optimizer, schedule, learning_rate, total_steps):
    if isinstance(optimizer, keras.optimizers.Optimizer):
        # Once built, an optimizer belongs to the weights of one stage, and to the strategy it was made under.
        return type(optimizer).from_config(optimizer.get_config())
    arguments = {"name": optimizer} if isinstance(optimizer, str) else dict(optimizer or {"name": "adamw"})
    name = str(arguments.pop("name", ""))
    arguments["learning_rate"] = _schedule(schedule, learning_rate, total_steps)
    if name in registry.names("optimizers"):
        return registry.get("optimizers", {"name": name, **arguments})
    return _keras_optimizer(name, arguments)


def check(optimizer, schedule, learning_rate):
    """Raises UserError for what `make` cannot use, or would use otherwise than it looks."""
    _check_rate(learning_rate)
    _check_one_rate("optimizer", optimizer, {"schedule": schedule, "learning_rate": learning_rate})
    _check_one_rate("schedule", schedule, {"learning_rate": learning_rate})
    make(optimizer, schedule, 1.0, total_steps=1)


def rates(learning_rate, method, model, modality):
    """Returns a run's learning rates as the arguments of `Settings`: `learning_rate`, `factors` and `rates`.

    Raises: UserError as `rates_by_path`.
    """
    default, is_by_path = method.learning_rate[modality], isinstance(learning_rate, dict)
    return {
        "learning_rate": default if is_by_path or learning_rate is None else learning_rate,
        "factors": method.rates(model),
        "rates": rates_by_path(model, learning_rate) if is_by_path else {},
    }


def rates_by_path(model, rates):
    """Returns `{path: rate}` for learning rates by pattern; where several match, the last counts.

    Paths are those of `weights.by_path`.

    Args:
        model: FineTunedModel, as `Method.apply` leaves it: all is trainable that learns in one stage or another.
        rates: dict of regular expression searched in the path of a weight: float.

    Raises: UserError if an expression finds no weight, or has a rate for weights that never learn; shows five paths.
    """
    found, paths = {}, {name: variable.path for name, variable in weights.by_path(model).items()}
    trained = [variable.path for variable in model.trainable_variables]
    for pattern, rate in rates.items():
        expression = weights.compiled(pattern, "learning_rate")
        matches = {name: path for name, path in paths.items() if expression.search(path)}
        if not matches:
            raise _no_effect("No weight has a path that matches", list(paths.values()), {pattern: rate})
        if rate and not set(matches.values()) & set(trained):  # Rate 0 asks for what is so already.
            raise _no_effect("The method trains none of the weights whose path matches", trained, {pattern: rate})
        found |= dict.fromkeys(matches, rate)
    return found


def stated_rate(settings):
    """Returns the peak as reports state it: a number, or whose own it is where an object has none that can be told."""
    if isinstance(settings.schedule, OBJECTS):
        return "the schedule's own"
    free = getattr(settings.optimizer, "inner_optimizer", settings.optimizer)
    if not isinstance(free, OBJECTS):
        return settings.learning_rate
    rate = free.get_config()["learning_rate"]
    return float(f"{rate:.6g}") if isinstance(rate, float) else "the optimizer's own"  # Keras keeps it in float32.


def stages(method, model, epochs, arguments):
    """Returns the stages of a method.

    Args:
        arguments: dict, of FineTuner.

    Raises: UserError if one has a rate of its own which the object of an optimizer or a schedule would override.
    """
    found = method.stages(model, epochs)
    given = [name for name in ("optimizer", "schedule") if isinstance(arguments[name], OBJECTS)]
    for stage in found:
        if given and stage.learning_rate is not None:
            name = given[0]
            raise UserError(
                f"The stage {stage.name!r} has a learning rate of its own, and so has the {name} object: give the "
                f"{name} by name. Received: {stage.learning_rate} and {name}={type(arguments[name]).__name__}"
            )
    return found


def check_callbacks(callbacks, optimizer):
    """Raises UserError for callbacks that set a learning rate where a schedule sets it: Keras would fail on the way."""
    free = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(free, keras.optimizers.Optimizer) and isinstance(free.get_config()["learning_rate"], float):
        return
    for callback in callbacks:
        if isinstance(callback, SETTING_RATES):
            raise UserError(
                f"{type(callback).__name__} needs an optimizer object with a number for its learning rate, such as "
                f"optimizer=keras.optimizers.AdamW(5e-5); here a schedule sets it. Received: optimizer={optimizer!r}"
            )


def join(optimizer, joined):
    """Tells an optimizer with `factors` how many updates it made before each weight joined, by `id(variable)`."""
    getattr(optimizer, "inner_optimizer", optimizer).joined = joined


def _decays(variable):
    name = variable.path.split("/")[-1]
    return getattr(variable, "decays", True) and name != "bias" and not weights.is_of_normalization(name)


def spare_from_decay(optimizer, variables):
    """Excludes from weight decay what multiplies, which would end at zero, and what shifts (Devlin et al. 2018).

    These are biases, scales and shifts of normalisation, and the weights that say so: `weight.decays = False`.
    """
    if getattr(optimizer, "weight_decay", None):
        optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if not _decays(variable)])


def _check_rate(learning_rate):
    if isinstance(learning_rate, dict):
        is_right = all(isinstance(key, str) and _is_rate(rate) for key, rate in learning_rate.items())
    else:
        is_right = learning_rate is None or (_is_rate(learning_rate) and learning_rate > 0)
    if not is_right:
        allowed = "a number above 0, or a dict of regular expression on the path: number, 0 or more"
        raise UserError(f"learning_rate must be {allowed}. Received: learning_rate={learning_rate!r}")
    for pattern in learning_rate if isinstance(learning_rate, dict) else ():
        weights.compiled(pattern, "learning_rate")


def _is_rate(value):
    return isinstance(value, numbers.Real) and 0 <= value < math.inf


def _no_effect(problem, paths, received):
    return UserError(f"{problem}. Paths look like: {', '.join(paths[:5])}. Received: learning_rate={received!r}")


def _check_one_rate(name, value, others):
    """Refuses a learning rate that would be given in two places, of which one would be ignored."""
    if isinstance(value, dict) and "learning_rate" in value:
        raise UserError(f"learning_rate is an argument of FineTuner, not of {name}. Received: {name}={value!r}")
    if not (value is None or isinstance(value, (str, dict, *OBJECTS))):
        raise UserError(f"{name} must be a name, a {{'name': …}} dict or a Keras object. Received: {name}={value!r}")
    twice = [f"{other}={given!r}" for other, given in others.items() if given is not None]
    if isinstance(value, OBJECTS) and twice:
        raise UserError(f"The {name} object has a learning rate of its own. Received: {', '.join(twice)} with it")


def _keras_optimizer(name, arguments):
    """Returns the optimizer of this name, in any case, that Keras has."""
    base = keras.optimizers.Optimizer
    found = {key.lower(): cls for key, cls in vars(keras.optimizers).items() if isinstance(cls, type)}
    found = {key: cls for key, cls in found.items() if issubclass(cls, base) and cls is not base}
    if name.lower() not in found:
        allowed = {*registry.names("optimizers"), *found}
        raise UserError(
            f"There is no optimizer {name!r}.{nearest(name, allowed)} There are: {', '.join(sorted(allowed))}. "
            f"Received: {name!r}"
        )
    registry.raise_if(registry.argument_errors(found[name.lower()], arguments, where=f"optimizer {name}"))
    try:
        return found[name.lower()](**arguments)
    except (ValueError, TypeError) as error:
        del arguments["learning_rate"]
        raise UserError(f"optimizer {name}: {error} Received: {arguments}") from error


def _schedule(schedule, learning_rate, total_steps):
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    arguments = {"name": schedule} if isinstance(schedule, str) else dict(schedule or {"name": "linear"})
    return registry.get("schedules", {"learning_rate": learning_rate, "total_steps": total_steps, **arguments})
