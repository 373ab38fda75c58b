"""Stage by stage through `keras.Model.fit`."""

import dataclasses
import os
from typing import Any

import keras

from kerasft.callbacks.base import WeightAverage
from kerasft.errors import UserError
from kerasft.pipeline import batching
from kerasft.training import checkpoint, optimizer


@dataclasses.dataclass
class Settings:
    """How to train; the arguments of the same names of `FineTuner` and `fit`.

    Attributes:
        learning_rate: float. Peak.
        directory: str. Run folder; the state after each epoch lies in its `checkpoint/`.
        replicas: int. Devices that share a batch.
        precision: str. The dtype policy that the model has.
        factors: dict. `{path: factor}` of the weights whose learning rate is the stage's times a factor.
        rates: dict. `{path: rate}` of the weights that have a peak of their own, the same in each stage.
    """

    optimizer: Any
    schedule: Any
    learning_rate: float
    epochs: int
    batch_size: int
    seed: int
    directory: str
    replicas: int = 1
    precision: str = "float32"
    factors: dict = dataclasses.field(default_factory=dict)
    rates: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Span:
    """The epochs of one stage.

    Attributes:
        stage: kerasft.methods.base.Stage.
        first: int. begin: int, where it goes on after an interruption. last: int, not included.
        epochs: int. Of the run.
        schedule_epochs: int. Of the learning rate's schedule, which may have begun in a stage before.
        logs: dict. Of the epochs before.
    """

    stage: Any
    first: int
    begin: int
    last: int
    epochs: int
    schedule_epochs: int
    logs: dict


def fit(model, task, stages, data, settings, callbacks):
    """Trains `model` and returns one `keras.callbacks.History` over all stages.

    Args:
        data: pair of training and validation examples; the second may be None.
        callbacks: function without arguments that returns the stage's fresh list of Keras callbacks.
    """
    state = os.path.join(settings.directory, "checkpoint")
    done, logs = checkpoint.read(state)
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    history.history.update(logs)
    model.stop_training, first = False, 0
    for number, stage in enumerate(stages):
        last = first + stage.epochs
        if last > done:
            epochs = sum(stage.epochs for stage in stages), _schedule_epochs(stages, number)
            span = Span(stage, first, max(first, done), last, *epochs, history.history)
            for name, values in _fit_stage(model, task, span, data, settings, callbacks()).items():
                history.history.setdefault(name, []).extend(values)
        else:
            stage.apply(model)  # Done before; the next one may build on it, as where it turned off dropout.
        first = last
        if model.stop_training:
            break
    history.epoch = list(range(len(history.history.get("loss", []))))
    return history


def _fit_stage(model, task, span, data, settings, callbacks):
    """Trains one stage and returns its logs by name."""
    training, validation = data
    steps = batching.steps_per_epoch(len(training), settings.batch_size)
    span.stage.apply(model)
    for objective in model.objectives:
        objective.attach(model)
    peak = span.stage.learning_rate or settings.learning_rate
    factors = settings.factors if span.stage.factors is None else span.stage.factors
    settings = dataclasses.replace(settings, learning_rate=peak, factors=factors)
    compile_model(model, task, settings, steps * span.schedule_epochs)
    state = os.path.join(settings.directory, "checkpoint")
    stopping = [callback for callback in callbacks if isinstance(callback, keras.callbacks.EarlyStopping)]
    averages = [callback for callback in callbacks if isinstance(callback, WeightAverage)]
    saver = checkpoint.Checkpoint(state, span.epochs, span.logs, stopping, averages)
    if span.begin:
        _go_on(model, span, state)
    made = model.fit(
        training_dataset(training, settings, range(span.begin, span.last), model.objectives),
        epochs=span.last,
        initial_epoch=span.begin,
        steps_per_epoch=steps,
        validation_data=None if validation is None else evaluation_dataset(validation, settings),
        callbacks=[*callbacks, saver],
        shuffle=False,
        verbose=0,
    )
    return made.history


def _go_on(model, span, state):
    """Puts a compiled model where the epoch before left it, be it in this process or in one that was interrupted."""
    checkpoint.restore(state, model)
    is_within = span.begin > span.first
    if is_within or span.stage.continues:
        checkpoint.restore_optimizer(state, model.optimizer, is_same=is_within)


def _schedule_epochs(stages, number):
    """Returns the length of a stage's schedule: that of all stages that go on with it."""
    begin = max(i for i in range(number + 1) if i == 0 or not stages[i].continues)
    end = next((i for i in range(number + 1, len(stages)) if not stages[i].continues), len(stages))
    return sum(stage.epochs for stage in stages[begin:end])


def compile_model(model, task, settings, total_steps):
    """Compiles for a stage of `total_steps` updates; what learns must be chosen before."""
    if not model.trainable_variables:
        raise UserError("The method leaves nothing to learn: all layers are frozen. Received: 0 trainable weights")
    peak = settings.learning_rate
    factors = {**settings.factors, **{path: rate / peak for path, rate in settings.rates.items()}}
    made = optimizer.make(settings.optimizer, settings.schedule, peak, total_steps, factors)
    optimizer.spare_from_decay(made, model.trainable_variables)
    if settings.precision == "mixed_float16":
        made = keras.optimizers.LossScaleOptimizer(made)  # Small gradients would be 0 in float16.
    made.build(model.trainable_variables)
    # With several replicas an incomplete batch is filled with rows of weight 0, which metrics must not count.
    name = "weighted_metrics" if settings.replicas > 1 else "metrics"
    model.compile(optimizer=made, loss=task.loss(), **{name: task.metrics()}, jit_compile="auto")


def training_dataset(examples, settings, epochs, objectives=()):
    """Returns the batches of these epochs one after the other, each epoch in its own order."""
    extras = {objective.name: objective.extra for objective in objectives if objective.extra is not None}

    def batches():
        for epoch in epochs:
            yield from batching.training_batches(examples, settings.batch_size, settings.seed, epoch)

    return batching.dataset(examples, batches, settings.replicas, settings.batch_size, extras=extras)


def evaluation_dataset(examples, settings):
    """Returns all rows once, the longest first."""
    batches = batching.ordered_batches(examples, settings.batch_size)
    return batching.dataset(examples, lambda: batches, settings.replicas, settings.batch_size, len(batches))
