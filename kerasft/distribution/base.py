"""tf.distribute strategies by name, and what Keras cannot do under them."""

import tensorflow as tf

from kerasft import registry
from kerasft.errors import UserError


def resolve(distribution):
    """Returns a `tf.distribute.Strategy`, or None for one device.

    Args:
        distribution: None, `"auto"` (all GPUs or the TPU there is), a name or dict of `kerasft/distribution/`,
            or a Strategy.

    Raises: UserError for strategies that Keras 3 cannot train under.
    """
    if distribution in (None, "none"):
        return None
    if distribution == "auto":
        distribution = _automatic()
        return None if distribution is None else resolve(distribution)
    if isinstance(distribution, tf.distribute.Strategy):
        return _supported(distribution)
    if not isinstance(distribution, (str, dict)):
        raise UserError(f"distribution must be a name, a dict or a Strategy. Received: distribution={distribution!r}")
    arguments = {"name": distribution} if isinstance(distribution, str) else dict(distribution)
    name = arguments.pop("name", None)
    make = registry.find("distribution", name, "strategy")
    registry.raise_if(registry.argument_errors(make, arguments, where=f"distribution/{name}"))
    return make(**arguments)


def check(strategy, batch_size, optimizer, rows_apart=True):
    """Refuses what would crash or train wrongly on several replicas.

    Args:
        strategy: tf.distribute.Strategy or None.
        batch_size: int. Rows of the batch that all replicas share.
        optimizer: None, a name, a dict or a Keras optimizer.
        rows_apart: bool. That of the task: whether a batch has one entry of the inputs and of the targets for each row.
    """
    if strategy is None:
        return
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and not rows_apart:
        raise UserError(
            "The task compares the rows of a batch with each other, so it trains on one device only. "
            f"Received: distribution={type(strategy).__name__} of {replicas} replicas"
        )
    if batch_size % replicas:
        raise UserError(f"batch_size must be a multiple of the {replicas} replicas. Received: batch_size={batch_size}")
    arguments = optimizer if isinstance(optimizer, dict) else getattr(optimizer, "__dict__", {})
    wrong = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if arguments.get(name)]
    if wrong:
        raise UserError(
            f"Keras clips on each replica before the sum, so training would differ from one device: leave {wrong[0]} "
            f"unset, or use the optimizer 'adamw' with clip_norm. Received: {wrong[0]}={arguments[wrong[0]]}"
        )
    if arguments.get("gradient_accumulation_steps"):
        raise UserError(
            "Keras cannot accumulate gradients under a strategy; use a larger batch_size. "
            f"Received: gradient_accumulation_steps={arguments['gradient_accumulation_steps']}"
        )


def check_scope(strategy, backbone):
    """Refuses a backbone that was made before the strategy: its weights are on one device only."""
    created = strategy.extended.variable_created_in_scope if strategy else lambda variable: True
    if not all(created(weight.value) for weight in backbone.weights):
        raise UserError(
            "The backbone must be made under the strategy: give its name, or make it within `strategy.scope()` and "
            f"give distribution=strategy. Received: backbone={backbone.name!r}, made before"
        )


def _automatic():
    if tf.config.list_logical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else None


def _supported(strategy):
    works = (tf.distribute.MirroredStrategy, tf.distribute.TPUStrategy, tf.distribute.OneDeviceStrategy)
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not isinstance(strategy, works):
        raise UserError(
            "Keras 3 trains under MirroredStrategy, TPUStrategy and OneDeviceStrategy only. "
            f"Received: distribution={type(strategy).__name__}"
        )
    return strategy
