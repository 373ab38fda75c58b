"""FineTuner: the one file where the folders meet."""

import functools
import importlib
import os
import sys

import tensorflow as tf

from kerasft import console, lean, once, registry, remat, run_folder, shared, surgery, weights
from kerasft import recipe as recipes
from kerasft.adapters import Adapters
from kerasft.checks import check_whole
from kerasft.data import base as data_sources
from kerasft.distribution import base as distributions
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.objectives.base import are_rows_apart, check_objectives
from kerasft.pipeline import batching, clean
from kerasft.presets import base as presets
from kerasft.training import callbacks as training_callbacks
from kerasft.training import fit as training
from kerasft.training import optimizer as optimizers
from kerasft.training import precision as precisions
from kerasft.training import tables


class FineTuner(Adapters):
    """Fine-tunes a pretrained backbone on a task: `fit`, `evaluate`, `predict`, `save`, `export`.

    Nothing is loaded before it is needed. Every argument is a name, a `{"name": …}` dict or an object.

    Args:
        task: str, dict or `Task`. A file of `kerasft/tasks/`, such as `"text_classification"`.
        backbone: str, path, `Pretrained` or functional `keras.Model` of images. A KerasHub preset, `kaggle://…`,
            `hf://…`, `keras_cv:…`, `applications:…`, `starter:…`, a local folder, or a `.keras` or `.h5` file;
            `kerasft presets` lists those with a name.
        method: str, dict or `Method`. A file of `kerasft/methods/`.
        objectives: sequence of str, dict or `Objective`. Loss terms beyond the task's.
        learning_rate: float, dict or None. Peak; None is the method's default. A dict gives some weights their own, by
            regular expressions on the path: `{"head": 1e-3, "embedding": 0}`.
        optimizer: str, dict, Keras optimizer or None (AdamW, clipped at global norm 1, weight decay 0.01).
        schedule: str, dict, Keras schedule or None (linear decay after 10 % warm-up).
        precision: str. `"auto"`, `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`; of the training. Evaluation,
            prediction and export are in float32.
        gradient_checkpointing: bool. Whether blocks of a transformer keep only their input for the backward pass and
            compute the rest again: the same gradients, less memory, more time.
        distribution: None, `"auto"`, `"mirrored"`, `"tpu"`, dict or `tf.distribute.Strategy`.
        seed: int. Fixes the head's first weights, dropout, the split and the order of the data.
        name: str or None. Of the run folder under `saved_models/`; None is made of task, backbone and method.
        **task_arguments: of the task, such as `labels=[…]`, `pair=True`, `sequence_length=128`, `image_size=96`.

    Raises: UserError for an unknown name or argument, all of them in one message.
    Example:
        >>> tuner = kerasft.FineTuner(task="text_classification", backbone="starter:minilm_l6_en")
        >>> tuner.fit("reviews.csv", validation_split=0.1)
    """

    def __init__(  # noqa: PLR0913
        self,
        task,
        backbone,
        method="full",
        *,
        objectives=(),
        learning_rate=None,
        optimizer=None,
        schedule=None,
        precision="auto",
        gradient_checkpointing=False,
        distribution=None,
        seed=0,
        name=None,
        **task_arguments,
    ):
        given = {k: v for k, v in locals().items() if k not in ("self", "task_arguments", "__class__")}
        self.arguments = {**given, "method": "full" if method is None else method, **task_arguments}
        if isinstance(task, (str, dict)):
            task = {**({"name": task} if isinstance(task, str) else task), **task_arguments}
        elif task_arguments:
            raise UserError(f"A task object has its own arguments. Received: {task_arguments!r} with it")
        self.task, self.method, self.policy, _, _, *self.objectives = registry.all_of(
            functools.partial(registry.get, "tasks", task),
            functools.partial(registry.get, "methods", self.arguments["method"]),
            functools.partial(precisions.resolve, precision),
            functools.partial(check_whole, "FineTuner", "seed", seed, low=0),
            functools.partial(optimizers.check, optimizer, schedule, learning_rate),
            *(functools.partial(registry.get, "objectives", one) for one in registry.listed("objectives", objectives)),
        )
        if self.task.modality not in self.method.learning_rate:
            raise UserError(f"The method does not work with {self.task.modality}. Received: method={method!r}")
        check_objectives(self.objectives, self.task)
        self.name = name or recipes.slug(self.arguments)
        self.directory = self.samples = None
        self.facts = {}
        self.report = None  # The path of the page of the last evaluation, if there is a folder for it.
        self.fit_arguments = {}
        self._restored = None

    # === The Keras objects inside ===

    @functools.cached_property
    def strategy(self):
        """The `tf.distribute.Strategy`, or None for one device."""
        return distributions.resolve(self.arguments["distribution"])

    @functools.cached_property
    def pretrained(self):
        """The `Pretrained` backbone with its tokenizer or image converter."""
        with self._scope():
            pretrained = self._restored() if self._restored else presets.resolve(self.arguments["backbone"])
        if pretrained.modality != self.task.modality:
            raise UserError(
                f"The task reads {self.task.modality}, the backbone {pretrained.modality}. "
                f"Received: backbone={pretrained.name!r}"
            )
        distributions.check_scope(self.strategy, pretrained.backbone)
        with self._scope():
            return self.task.part_of(pretrained)

    @functools.cached_property
    def preprocessor(self):
        """The Keras layer from raw input to the backbone's, for training and serving alike."""
        preprocessor = self.task.preprocessor(self.pretrained)
        self.method.prepare(preprocessor)
        return preprocessor

    @functools.cached_property
    def model(self):
        """The `keras.Model` that is trained. The task's labels must be known: given, or learned by `fit`."""
        self.task.check_learned()
        backbone = self.pretrained.backbone
        with self._scope(), weights.seeded(self.arguments["seed"]):
            model = FineTunedModel(backbone, self.task.head(self.pretrained), self.objectives)
            if self.task.modality == "text":
                lean.apply(model)
                lean.skip_unread_tokens(model)
                once.share_traces(model)
                shared.share_beginnings(model)
            remat.set_checkpointing(model, self.arguments["gradient_checkpointing"])
            self.method.attach(model)
            self.task.begin(model, self.preprocessor)
        model.set_seed(self.arguments["seed"])
        model.choose(self.method.apply)
        return model

    def batches(self, data, training=False, batch_size=32):
        """Returns a `tf.data.Dataset` of `(inputs, targets)` batches, ready for `tuner.model.fit` or `evaluate`.

        They are in the order of `data`, and so is what `tuner.model.predict` answers. With `training`, every pass over
        the dataset has an order of its own, rows of like length together.
        """
        frame = self.task.prepare(data_sources.load(data))
        examples = self.task.examples(frame, self.preprocessor)
        epochs = iter(range(sys.maxsize))

        def plan():
            if training:
                return batching.training_batches(examples, batch_size, self.arguments["seed"], next(epochs))
            return batching.batches_in_order(examples, batch_size)

        return batching.dataset(examples, plan, count=batching.steps_per_epoch(len(examples), batch_size))

    def unlabelled(self, data):
        """Returns the examples of `data` without targets, which batches can be made of."""
        frame = self.task.prepare(data_sources.load(data), with_targets=False)
        return self.task.examples(frame, self.preprocessor, with_targets=False)

    def frames(self, data, validation_data=None, validation_split=0.0, quarantine=None):
        """Returns the checked DataFrames that `fit` trains and validates on, the second None without validation."""
        return tables.read(self.task, self.arguments["seed"], data, validation_data, validation_split, quarantine)

    # === Fine-tuning ===

    def fit(  # noqa: PLR0913
        self,
        data,
        *,
        validation_data=None,
        validation_split=0.0,
        max_bad_rows=0.0,
        epochs=3,
        batch_size=batching.ROWS,
        callbacks=(),
        directory=None,
        resume="auto",
        save_freq=1000,
        lower_rate_on_nan=False,
    ):
        """Checks the data, trains, keeps the best weights, evaluates on validation data and saves the run folder.

        Args:
            data: path, `{"name": source, …}` dict, DataFrame, list of dicts, `(x, y)` or `tf.data.Dataset` of dicts.
            validation_data: the same, or None.
            validation_split: float from 0 to 1. Share of `data` to validate on, stratified by label.
            max_bad_rows: float from 0 to 1. Rows that cannot be used, up to this share of `data` and of
                `validation_data`, are left out and listed in `quarantine.csv` of the run folder; more are refused.
            epochs: int. batch_size: int, rows of an update on all devices together; or `"auto"`: 32, of which as many
                are computed at once as the memory of one device allows, for the same gradients.
            callbacks: sequence of str, dict or `keras.callbacks.Callback`. Names are files of `kerasft/callbacks/`,
                such as `"ema"`. Averages act before kerasft's own, others after them; an `EarlyStopping` or
                `TensorBoard` takes the place of kerasft's.
            directory: path of the run folder, or None for `saved_models/<name>`, with a number if that is taken.
            resume: str. `"auto"` goes on where an interrupted run in `directory` was, and ends in the same bits as if
                nothing had happened; `"never"` starts anew in a folder beside it, `<directory>-2`.
            save_freq: int. Steps between two savings of that state within an epoch; it is saved after epochs, too, if
                the last saving is 5 seconds ago.
            lower_rate_on_nan: bool. If loss or weights are no longer finite, go on from the last saved state at a tenth
                of the learning rate, once, in place of an error.

        Returns: keras.callbacks.History.
        Raises: UserError for unusable data or arguments, before weights are loaded; for learning rates of weights that
            the model does not have, or that an optimizer or schedule object would override, before anything is written.
            Diverged, a UserError, if loss or weights are no longer finite; nothing of that is saved. Interrupted, a
            KeyboardInterrupt, after SIGINT or SIGTERM, with the state saved; a second signal ends the process at once.
        """
        training.check(epochs, resume, save_freq)
        rows = batching.rows_of(batch_size)
        callbacks = [registry.get("callbacks", callback) for callback in registry.listed("callbacks", callbacks)]
        optimizers.check_callbacks(callbacks, self.arguments["optimizer"])
        distributions.check(self.strategy, rows, self.arguments["optimizer"], self.task.rows_apart)
        given = {"data": data, "validation_data": validation_data}
        # Data in memory cannot be named in a recipe.
        given = {name: value for name, value in given.items() if isinstance(value, (str, os.PathLike, dict))}
        given["callbacks"] = run_folder.describable(callbacks)
        given |= {"validation_split": validation_split, "max_bad_rows": max_bad_rows}
        self.fit_arguments = {**given, "epochs": epochs, "batch_size": batch_size}
        quarantine = clean.Quarantine(max_bad_rows)
        train, validation = self.frames(data, validation_data, validation_split, quarantine)
        default = os.path.join("saved_models", self.name)
        directory = run_folder.choose(directory or default, resume, self.recipe, is_default=directory is None)
        training.warn_of_changes(self.model)
        stages = optimizers.stages(self.method, self.model, epochs, self.arguments)
        can_part = self.strategy is None and are_rows_apart(self.task, self.objectives)
        settings = training.Settings(
            **{name: self.arguments[name] for name in ("optimizer", "schedule", "seed")},
            **optimizers.rates(self.arguments["learning_rate"], self.method, self.model, self.task.modality),
            epochs=epochs,
            batch_size=rows,
            may_part=batch_size == "auto" if can_part else None,
            directory=directory,
            save_freq=save_freq,
            lower_rate_on_nan=lower_rate_on_nan,
            replicas=self.strategy.num_replicas_in_sync if self.strategy else 1,
            precision=self.policy,
            digest=clean.digest(train),
        )
        for objective in self.objectives:
            objective.prepare(self, train)
        with run_folder.claimed(directory, self.recipe):
            run_folder.write_quarantine(directory, quarantine)
            history = self._train(settings, stages, train, validation, callbacks)
            self._finish(history, settings, train, validation)
        return history

    def _train(self, settings, stages, train, validation, callbacks):  # noqa: PLR0913
        console.show_weights(self.model)
        examples = [None if f is None else self.task.examples(f, self.preprocessor) for f in (train, validation)]
        console.show_data(examples[0], settings)
        made = functools.partial(self._callbacks, settings, examples, validation, callbacks)
        surgery.set_dtype_policy(self.model, self.policy)
        try:
            with self._scope(), surgery.forgotten_gradients():
                history = training.fit(self.model, self.task, stages, examples, settings, made)
        finally:
            surgery.set_dtype_policy(self.model, "float32")
        with self._scope():
            training_callbacks.finish(self.model, callbacks, examples[0], settings)
        return history

    def _finish(self, history, settings, train, validation):
        self.model.choose(self.method.apply)  # What learned in any stage, not the last alone, is shown and saved.
        self.directory = os.path.abspath(settings.directory)
        self.facts = run_folder.facts(self, settings, train)
        self.history = history.history
        self.samples = self.task.served((train if validation is None else validation).head(8))
        evaluation = None if validation is None else self._evaluate(validation, calibrate=True)
        run_folder.write(self, settings.directory)
        run_folder.clear_checkpoint(settings.directory)
        console.show_end(self, evaluation)

    def _callbacks(self, settings, examples, validation, callbacks):
        monitor = None if validation is None else self.task.monitor
        tensorboard = functools.partial(self._tensorboard, settings, validation)
        return training_callbacks.arrange(callbacks, len(examples[0]), monitor, tensorboard)

    def _tensorboard(self, settings, validation):
        from kerasft.evaluation.snapshot import Samples, Snapshot

        left_out = ("data", "validation_data", "labels", "columns", "name")
        hparams = {name: value for name, value in self.recipe.items() if name not in left_out}
        hparams.update(learning_rate=optimizers.stated_rate(settings), precision=self.policy)
        snapshot = None
        if validation is not None:
            made = Samples if self.task.scores_tokens else Snapshot
            snapshot = made(self.task, self.model, self.preprocessor, validation)
        return registry.find("callbacks", "tensorboard")(os.path.join(settings.directory, "logs"), hparams, snapshot)

    # === Using it ===

    def evaluate(self, data):
        """Returns `{metric: Estimate(value, low, high)}` with 95 % bootstrap intervals, for data as `fit` takes them.

        Where the run has a folder, `metrics.json` and `report.html` in it are those of the latest evaluation.
        """
        return self._evaluate(self.task.prepare(data_sources.load(data))).metrics

    def _evaluate(self, frame, calibrate=False):
        module = importlib.import_module(f"kerasft.evaluation.{self.task.evaluation}")
        scored = self.task.targets(frame), self.outputs(frame)
        if calibrate:
            self.task.calibrate(*scored)
        answers = {"answers": self.task.answers(self.decoded(frame))} if self.task.compares_answers else {}
        evaluation = module.evaluate(*scored, frame=frame, **answers, **self.task.evaluation_arguments())
        if self.directory:
            self.report = run_folder.write_report(self, evaluation, frame)
        return evaluation

    def predict(self, inputs):
        """Returns a dict of NumPy arrays: the names, types and values of the exported signature, or what the task says.

        Args:
            inputs: one input or a list (strings, pairs of strings; of images paths, bytes, arrays), or data as for
                `fit` that need no labels, a file of texts as `pathlib.Path("reviews.csv")`: a string is a text.
        """
        return self.task.answers(self.decoded(self._input_frame(inputs)))

    def _input_frame(self, inputs):
        is_data = isinstance(inputs, (dict, tf.data.Dataset)) or hasattr(inputs, "columns")
        is_data |= isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict)
        if self.task.modality == "text":
            is_data |= isinstance(inputs, os.PathLike)
            data_sources.warn_of_names(inputs)
        frame = data_sources.load(inputs) if is_data else self.task.input_frame(inputs)
        if not len(frame):
            raise UserError("There is nothing to predict. Received: no inputs")
        return self.task.prepare(frame, with_targets=False)

    def decoded(self, frame):
        """Returns what the exported signature gives for a prepared frame, as tensors."""
        if self.task.scores_tokens:
            return self.task.generated(self.model, self.preprocessor, frame)
        return self.task.decoded(self.outputs(frame), frame)

    def outputs(self, frame, batch_size=32):
        """Returns the model's raw output for each row, `(rows, …)` float32, in the frame's order.

        Of a task that scores tokens, how likely the right ones are, see its head.
        """
        examples = self.task.examples(frame, self.preprocessor, with_targets=self.task.scores_tokens)
        batches = batching.ordered_batches(examples, batch_size)
        with surgery.forgotten_gradients():
            made = self.model.predict(batching.dataset(examples, lambda: batches, count=len(batches)), verbose=0)
        return examples.restored(made, batches)

    # === Keeping it ===

    @property
    def recipe(self):
        """The arguments of FineTuner and `fit`, as YAML can hold them; learned labels included."""
        made = run_folder.plain({**self.arguments, **self.task.learned, **self.fit_arguments})
        return recipes.without_defaults(made, (type(self.task), FineTuner, FineTuner.fit))

    def save(self, directory):
        """Writes recipe, weights (the delta where the method has one), labels and manifest to `directory`.

        Raises: UserError if the folder holds anything already.
        """
        run_folder.write(self, run_folder.empty(os.fspath(directory)))

    def export(self, path, format="saved_model"):
        """Writes the model with its preprocessing and label names for serving, and checks it against `predict`.

        Args:
            path: path, which must not exist. Of a SavedModel a numbered version folder: `saved_models/reviews/1`.
            format: str. A file of `kerasft/exporters/`, such as `"saved_model_int8"`, `"preset"` or `"peft"`.

        Returns: the path.
        Raises: UserError if something is there, or the model cannot be had in this format; RuntimeError if the export
            answers otherwise than `predict`, and nothing is left of it.
        """
        with surgery.forgotten_gradients():
            registry.find("exporters", format, "write")(self, os.fspath(path))
        return path

    @staticmethod
    def load(directory):
        """As `kerasft.load`."""
        return load(directory)

    def _scope(self):
        return self.strategy.scope() if self.strategy else tf.name_scope("")


def load(directory):
    """Returns the FineTuner saved in `directory`, ready to evaluate, predict and export.

    Raises: UserError if the folder is no run, or a file is not as the manifest says.
    """
    return run_folder.read(os.fspath(directory), FineTuner)
