"""Stage by stage through `keras.Model.fit`."""

import contextlib
import dataclasses
import functools
import itertools
import warnings
from typing import Any

import keras
import tensorflow as tf

from kerasft import remat, steps, surgery, weights
from kerasft.errors import Diverged, UserError
from kerasft.pipeline import batching
from kerasft.training import checkpoint, features, optimizer, store
from kerasft.training.signals import Signals

LOWER = 0.1  # Of the learning rate, after training diverged.


@dataclasses.dataclass
class Settings:
    """How to train; the arguments of the same names of `FineTuner` and `fit`.

    Attributes:
        learning_rate: float. Peak.
        directory: str. Run folder; the state on the way lies in its `checkpoint/`.
        save_freq: int. Steps between two savings of the state within an epoch, beside those at the ends of epochs.
        replicas: int. Devices that share a batch.
        precision: str. The dtype policy that the model has.
        factors: dict. `{path: factor}`, of weights, as `Method.rates`, whose rate is the stage's times a factor.
        rates: dict. `{path: rate}` of the weights that have a peak of their own, the same in each stage.
        lower_rate_on_nan: bool. Whether training that diverges goes on from the last checkpoint at a tenth of the rate.
        rate_factor: float. Of all learning rates; below 1 after it did so, which happens once.
        may_part: bool or None. Whether a batch is computed in parts where memory is too short for all its rows; None
            where that would not be the same training.
        digest: str or None. Of the training examples: an interrupted run goes on with the same alone.
    """

    optimizer: Any
    schedule: Any
    learning_rate: float
    epochs: int
    batch_size: int
    seed: int
    directory: str
    save_freq: int = 1000
    replicas: int = 1
    precision: str = "float32"
    factors: dict = dataclasses.field(default_factory=dict)
    rates: dict = dataclasses.field(default_factory=dict)
    lower_rate_on_nan: bool = False
    rate_factor: float = 1.0
    may_part: bool | None = False
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class Span:
    """The epochs of one stage.

    Attributes:
        stage: kerasft.methods.base.Stage.
        first: int. last: int, not included.
        schedule_epochs: int. Of the learning rate's schedule, which may have begun in a stage before.
        earlier: list of stages that it goes on from, from the first.
    """

    stage: Any
    first: int
    last: int
    schedule_epochs: int
    earlier: list


class Callbacks(keras.callbacks.CallbackList):
    """The callbacks of a stage, to which an epoch that goes on in the middle, in a `fit` of its own, looks whole."""

    done, begun = 0, False

    def on_train_begin(self, logs=None):
        if not self.begun:
            super().on_train_begin(logs)
        self.begun = True

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch + self.done, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch + self.done, logs)

    def on_train_end(self, logs=None):
        if not self.done:
            super().on_train_end(logs)


def check(epochs, resume, save_freq):
    """Raises UserError unless `FineTuner.fit` can do with these arguments."""
    for name, value in (("epochs", epochs), ("save_freq", save_freq)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number, 1 or more. Received: {name}={value!r}")
    if resume not in ("auto", "never"):
        raise UserError(f"resume must be 'auto' or 'never'. Received: resume={resume!r}")


def warn_of_changes(model):
    """Warns if other weights learn than a method chose: each training begins with its choice."""
    changed = sorted(model.chosen ^ weights.learned(model).keys())
    if changed:
        warnings.warn(
            f"`trainable` of {len(changed)} weights was set by hand and is not kept: in fit, the method chooses what "
            f"learns, such as {{'name': 'freeze', 'blocks': 4}}. Received: {', '.join(changed[:3])}",
            stacklevel=3,
        )


def fit(model, task, stages, data, settings, callbacks):
    """Trains `model` and returns one `keras.callbacks.History` over all stages.

    An interrupted run in the same folder goes on where it was, to the very bit.

    Args:
        data: pair of training and validation examples; the second may be None.
        callbacks: function without arguments that returns the stage's fresh list of Keras callbacks.

    Raises: Interrupted after SIGINT or SIGTERM, with the state saved; Diverged if loss or weights are no longer finite;
        UserError if the state cannot be read or written.
    """
    steps_an_epoch = batching.steps_per_epoch(len(data[0]), settings.batch_size)
    checkpoints = store.of_run(settings.directory)
    position = checkpoint.position(checkpoints.newest())
    settings.rate_factor = position.rate_factor
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    model.stop_training, first = False, 0
    frozen = checkpoint.Frozen(_still(model, stages))
    with contextlib.closing(checkpoints), Signals() as signals:

        def made():
            given = callbacks()
            # What training that diverged goes back to must not depend on how fast the machine is.
            seconds = 0 if settings.lower_rate_on_nan else checkpoint.SECONDS
            often = checkpoint.Often(steps_an_epoch, settings.save_freq, seconds)
            return [*given, checkpoint.Checkpoint(checkpoints, signals, often, given, frozen, settings.digest)]

        for number, stage in enumerate(stages):
            last = first + stage.epochs
            if position.epoch < last or number == len(stages) - 1 or (position.is_stopped and position.epoch == last):
                begin, schedule_epochs = _schedule(stages, number)
                span = Span(stage, first, last, schedule_epochs, stages[begin:number])
                train = functools.partial(_fit_stage, model, task, span, data, settings, made)
                position = _lowering(train, settings)
            first = last
            if position.is_stopped:
                break
    history.history.update(position.history)
    history.epoch = list(range(len(history.history.get("loss", []))))
    return history


def _still(model, stages):
    """Returns the weights that no stage moves."""
    moved = set()
    for stage in stages:
        model.choose(stage.apply)
        moved |= {id(variable) for variable in weights.learned(model).values()}
    return [variable for variable in model.weights if id(variable) not in moved]


def _lowering(train, settings):
    """Calls `train`; if it diverges and the user allows it, a second time, from the last checkpoint at a lower rate."""
    try:
        return train()
    except Diverged as error:
        if not settings.lower_rate_on_nan or settings.rate_factor < 1:
            raise
        what = str(error).partition(". ")[0]
        warnings.warn(f"{what}. Going on from the last checkpoint at a tenth of the rate.", stacklevel=2)
    settings.rate_factor = LOWER
    return train()


def _begin_stage(model, task, span, settings, steps_an_epoch):
    """Chooses what learns and compiles the model for it.

    Returns: `{id(variable): number}`, for each weight that learns the first of the stages with one optimizer it did in.
    """
    joined = {}
    for number, stage in enumerate(span.earlier):
        stage.apply(model)
        joined = {id(variable): number for variable in model.trainable_variables} | joined
    model.choose(span.stage.apply)
    joined = {id(variable): len(span.earlier) for variable in model.trainable_variables} | joined
    for objective in model.objectives:
        objective.attach(model)
    peak = span.stage.learning_rate or settings.learning_rate
    factors = settings.factors if span.stage.factors is None else span.stage.factors
    if span.earlier:  # With factors, any optimizer is one that `optimizer.join` can tell what joined when.
        factors = dict.fromkeys(weights.by_path(model), 1.0) | factors
    settings = dataclasses.replace(settings, learning_rate=peak, factors=factors)
    compile_model(model, task, settings, steps_an_epoch * span.schedule_epochs)
    return joined


def _fit_stage(model, task, span, data, settings, make_callbacks):
    """Trains to the end of a stage, from where the epochs before left it; returns the `Position`."""
    callbacks = make_callbacks()
    saver = callbacks[-1]
    begin = saver.position
    begin.rate_factor = settings.rate_factor
    joined = _begin_stage(model, task, span, settings, saver.steps)
    if begin.epoch < span.first:
        raise UserError(
            f"The checkpoint of epoch {span.first} can no longer be read; the same call goes on from the one before. "
            f"Received: {saver.store.directory!r}"
        )
    if saver.saved:
        _go_on(model, span, saver.saved, begin, joined)
    callbacks = Callbacks(callbacks, add_history=True, model=model, epochs=settings.epochs, steps=saver.steps)
    if settings.lower_rate_on_nan and not saver.saved:
        saver.save()  # Even the first steps can be gone back on.
    callbacks.on_train_begin()  # Whoever measures the training shall see what now comes, too.
    if settings.replicas == 1:
        data = features.once(model, data, span.last - span.first, saver.leave_if_asked)
    if (begin.epoch, begin.step) == (span.first, 0):  # Within a stage it must stay what it is: parts round otherwise.
        begin.rows_at_once = _rows_at_once(model, data[0], settings) if settings.may_part else None
    model.rows_at_once = begin.rows_at_once
    train = functools.partial(_train, model, data, settings, callbacks)
    if begin.step:
        surgery.build_metrics(model, data[0].target_signature[0])  # The sums of the epoch's first steps go into them.
        saver.last = begin.epoch + 1
        train(range(begin.epoch, saver.last), begin.step)
        checkpoint.restore(saver.store.newest(), model)  # `fit` has ended, and may have put averages into the model.
    if saver.position.epoch < span.last and not saver.position.is_stopped:
        saver.last = span.last
        train(range(saver.position.epoch, span.last))
    else:  # Only what comes after the last epoch is left.
        callbacks.done = 0
        callbacks.on_train_end()
    return saver.position


def _rows_at_once(model, examples, settings):
    """Returns how many rows of a batch fit into memory, or None if all do."""
    model.rows_at_once = None
    widest = batching.ordered_batches(examples, settings.batch_size)[:1]
    try:
        found = steps.rows_that_fit(model, batching.dataset(examples, lambda: widest, extras=_extras(model.objectives)))
    except tf.errors.ResourceExhaustedError as error:
        raise _out_of_memory(error, model, settings, rows=1) from error
    if found:
        what = f"Memory is short: of the {settings.batch_size} rows of a batch, {found} are computed at once."
        warnings.warn(what, stacklevel=2)
    return found


def _train(model, data, settings, callbacks, epochs, done=0):
    """Trains for these epochs, of which the first has some steps behind it."""
    training, validation = data
    callbacks.done = done
    batches = training_dataset(training, settings, epochs, model.objectives, done)
    try:
        model.fit(
            model.waiting.timed(batches) if settings.replicas == 1 else batches,  # Several devices fetch ahead.
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            steps_per_epoch=batching.steps_per_epoch(len(training), settings.batch_size) - done,
            validation_data=None if validation is None else evaluation_dataset(validation, settings),
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    except tf.errors.ResourceExhaustedError as error:
        raise _out_of_memory(error, model, settings, model.rows_at_once or settings.batch_size) from error


def _out_of_memory(error, model, settings, rows):
    less = "; ".join(_needing_less(model, settings, rows))
    given = "'auto'" if settings.may_part else settings.batch_size
    return UserError(f"Out of memory ({error.message[:120]}). What needs less: {less}. Received: batch_size={given}")


def _needing_less(model, settings, rows):
    """Yields what would need less memory than a training with so many rows at once, what changes it least first."""
    if settings.may_part is False:
        yield "batch_size='auto', which is the same training"
    if half := rows // 2 // settings.replicas * settings.replicas:
        yield f"batch_size={half}"
    if settings.precision == "float32":
        yield "precision='mixed_bfloat16'"
    if remat.can_start(model):
        yield "gradient_checkpointing=True"
    if isinstance(model.input, dict):
        yield "a smaller sequence_length"
    elif None in model.input.shape[1:3]:
        yield "a smaller image_size"
    if 2 * weights.count(model.trainable_variables) > weights.count(model.weights):
        yield "a method that trains fewer weights, such as lora"
    yield "a smaller backbone"


def _go_on(model, span, saved, begin, joined):
    """Puts a compiled model where the steps before left it, be it in this process or in one that was interrupted.

    Args:
        joined: dict, as `_begin_stage` returns it.
    """
    checkpoint.restore(saved, model)
    is_within = begin.epoch > span.first or begin.step > 0
    if is_within or span.stage.continues:
        checkpoint.restore_optimizer(saved, model.optimizer, is_same=is_within)
    if span.earlier:
        if not is_within:
            begin.begins = [*begin.begins[: len(span.earlier) - 1], int(model.optimizer.iterations)]
        optimizer.join(model.optimizer, {key: [0, *begin.begins][number] for key, number in joined.items()})


def _schedule(stages, number):
    """Returns in which stage a stage's schedule begins, and its length: that of all stages that go on with it."""
    begin = max(i for i in range(number + 1) if i == 0 or not stages[i].continues)
    end = next((i for i in range(number + 1, len(stages)) if not stages[i].continues), len(stages))
    return begin, sum(stage.epochs for stage in stages[begin:end])


def compile_model(model, task, settings, total_steps):
    """Compiles for a stage of `total_steps` updates; what learns must be chosen before."""
    if not model.trainable_variables:
        raise UserError("The method leaves nothing to learn: all layers are frozen. Received: 0 trainable weights")
    peak = settings.learning_rate
    by_path = {**settings.factors, **{path: rate / peak for path, rate in settings.rates.items()}}
    factors = {id(v): by_path[path] for path, v in weights.by_path(model).items() if path in by_path}
    if settings.rate_factor != 1:
        factors = {id(v): factors.get(id(v), 1.0) * settings.rate_factor for v in model.trainable_variables}
    made = optimizer.make(settings.optimizer, settings.schedule, peak, total_steps, factors)
    optimizer.spare_from_decay(made, model.trainable_variables)
    if settings.precision == "mixed_float16":
        made = keras.optimizers.LossScaleOptimizer(made)  # Small gradients would be 0 in float16.
    made.build(model.trainable_variables)
    # Weighted: several replicas fill an incomplete batch with rows of weight 0, and not every token is a word.
    model.compile(optimizer=made, loss=task.loss(), weighted_metrics=task.metrics(), jit_compile="auto")


def training_dataset(examples, settings, epochs, objectives=(), skip=0):
    """Returns the batches of these epochs but for the first `skip`, each epoch in its own order."""

    def batches():
        planned = (batching.training_batches(examples, settings.batch_size, settings.seed, epoch) for epoch in epochs)
        return itertools.islice(itertools.chain.from_iterable(planned), skip, None)

    return batching.dataset(examples, batches, settings.replicas, settings.batch_size, extras=_extras(objectives))


def evaluation_dataset(examples, settings):
    """Returns all rows once, the longest first."""
    batches = batching.ordered_batches(examples, settings.batch_size)
    return batching.dataset(examples, lambda: batches, settings.replicas, settings.batch_size, len(batches))


def _extras(objectives):
    return {objective.name: objective.extra for objective in objectives if objective.extra is not None}
