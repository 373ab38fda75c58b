"""Stage by stage through `keras.Model.fit`."""

import dataclasses
import os
from typing import Any

import keras

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
        rates: function of the model that returns `{path: factor}` of the weights whose learning rate is another.
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
    rates: Any = lambda model: {}


@dataclasses.dataclass(frozen=True)
class Span:
    """The epochs of one stage.

    Attributes:
        stage: kerasft.methods.base.Stage.
        first: int. begin: int, where it goes on after an interruption. last: int, not included.
        schedule_begun: int. schedule_epochs: int. Epochs of the learning rate's schedule before the stage, and in all.
        logs: dict. Of the epochs before.
    """

    stage: Any
    first: int
    begin: int
    last: int
    schedule_begun: int
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
            begun, length = _schedule(stages, number)
            span = Span(stage, first, max(first, done), last, begun, length, history.history)
            for name, values in _fit_stage(model, task, span, data, settings, callbacks()).items():
                history.history.setdefault(name, []).extend(values)
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
    before = getattr(model, "optimizer", None) if span.stage.continues else None
    settings = dataclasses.replace(settings, learning_rate=span.stage.learning_rate or settings.learning_rate)
    compile_model(model, task, settings, steps * span.schedule_epochs)
    if span.stage.continues:
        _carry_over(before, model.optimizer, steps * span.schedule_begun)
    state = os.path.join(settings.directory, "checkpoint")
    is_continued = span.begin > span.first
    stopping = [callback for callback in callbacks if isinstance(callback, keras.callbacks.EarlyStopping)]
    saver = checkpoint.Checkpoint(state, span.logs, stopping, is_continued)
    if is_continued:
        checkpoint.restore(state, model)
    made = model.fit(
        training_dataset(training, settings, range(span.begin, span.last)),
        epochs=span.last,
        initial_epoch=span.begin,
        steps_per_epoch=steps,
        validation_data=None if validation is None else evaluation_dataset(validation, settings),
        callbacks=[*callbacks, saver],
        shuffle=False,
        verbose=0,
    )
    return made.history


def _schedule(stages, number):
    """Returns for a stage how many epochs of its schedule are before it, and how many there are in all."""
    begin = max(i for i in range(number + 1) if i == 0 or not stages[i].continues)
    end = next((i for i in range(number + 1, len(stages)) if not stages[i].continues), len(stages))
    return tuple(sum(stage.epochs for stage in stages[begin:stop]) for stop in (number, end))


def _carry_over(before, after, steps):
    """Gives an optimizer the state that another has of the same weights, and the number of steps done."""
    known = {} if before is None else {_slot_name(variable): variable for variable in before.variables}
    for variable in after.variables:
        same = known.get(_slot_name(variable))
        if same is not None and same.shape == variable.shape:
            variable.assign(same)
    after.iterations.assign(steps)


def _slot_name(variable):
    """Returns the path of an optimizer's variable without the optimizer's own name, which has a running number."""
    return variable.path.split("/", 1)[-1]


def compile_model(model, task, settings, total_steps):
    """Compiles for a stage of `total_steps` updates; what learns must be chosen before."""
    if not model.trainable_variables:
        raise UserError("The method leaves nothing to learn: all layers are frozen. Received: 0 trainable weights")
    made = optimizer.make(
        settings.optimizer, settings.schedule, settings.learning_rate, total_steps, settings.rates(model)
    )
    optimizer.spare_from_decay(made, model.trainable_variables)
    if settings.precision == "mixed_float16":
        made = keras.optimizers.LossScaleOptimizer(made)  # Small gradients would be 0 in float16.
    made.build(model.trainable_variables)
    # With several replicas an incomplete batch is filled with rows of weight 0, which metrics must not count.
    name = "weighted_metrics" if settings.replicas > 1 else "metrics"
    model.compile(optimizer=made, loss=task.loss(), **{name: task.metrics()}, jit_compile="auto")


def training_dataset(examples, settings, epochs):
    """Returns the batches of these epochs one after the other, each epoch in its own order."""

    def batches():
        for epoch in epochs:
            yield from batching.training_batches(examples, settings.batch_size, settings.seed, epoch)

    return batching.dataset(examples, batches, settings.replicas, settings.batch_size)


def evaluation_dataset(examples, settings):
    """Returns all rows once, the longest first."""
    batches = batching.ordered_batches(examples, settings.batch_size)
    return batching.dataset(examples, lambda: batches, settings.replicas, settings.batch_size, len(batches))
