"""The `keras.Model` that is fine-tuned: the layers of a backbone with a head on top."""

import contextlib
import functools
import itertools
import json
import threading
import types
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft import frozen, hub_blocks, lean, shared, steps, surgery, weights
from kerasft.errors import UserError
from kerasft.pipeline.waiting import Waiting

PARTS_APART = 65537  # Between the seeds of two parts of a batch: more than there are replicas.
EXTRAS = "extras"  # Where a batch has what objectives need beside it: `{"inputs": x, "extras": {name: …}}`.


@keras.saving.register_keras_serializable("kerasft")
class FineTunedModel(keras.Model):
    """A functional model from a backbone's inputs to a head's outputs, with room for further objectives.

    The backbone's layers are wired in directly, and only those that reach the head, so each has the same
    path as in the backbone and no weight is left without a gradient.

    Args:
        backbone: keras.Model. Its inputs become the model's; that of an image comes out of its dict, if it is in one.
        head: keras.layers.Layer. Called on those of `features(backbone)` that its `reads` names.
        objectives: sequence of `kerasft.objectives.base.Objective`. What is minimised beyond the task's loss.
    """

    others = types.SimpleNamespace(layers={})  # Hidden in it from Keras, which would make them parts of the model.
    read_at_first_token = None  # The block of which `lean.skip_unread_tokens` computes one token.
    frozen: Any = None  # The `frozen.Frozen` part, which runs in inference mode, chosen by `choose`.
    chosen = frozenset()  # The paths of what `choose` had learn last.
    rows_at_once = None  # Of a training batch, where memory is too short for all its rows.
    part = 0  # Of a training batch, while it is computed.

    def __init__(self, backbone, head, objectives=(), **kwargs):
        found = features(backbone)
        outputs = head({name: found[name] for name in head.reads})
        super().__init__(inputs=_inputs(backbone), outputs=outputs, **kwargs)
        hub_blocks.name_by_place(self)
        self.head_name = head.name
        self.waiting = Waiting()
        self.local = threading.local()  # `counted`: weights of the positions of the batch that is being computed.
        self.objectives = list(objectives)
        self.others = types.SimpleNamespace(layers={})
        self.seed = 0
        # Its name is that of Keras's own mean, which counts the rows of weight 0, and it replaces that one in the logs.
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.terms = {o.name: keras.metrics.Mean(name=o.name) for o in self.objectives if o.has_term}

    @property
    def head(self):
        """The head layer."""
        return self.get_layer(self.head_name)

    @property
    def backbone_layers(self):
        """The layers below the head that hold weights, from the input upwards; stacks of blocks block by block."""
        return weights.unnested(layer for layer in self.layers if layer.name != self.head_name and layer.weights)

    def beside(self, name, make):
        """Returns the layer of this name that an objective trains beside the model; `make()` makes it, once.

        Its weights learn and are in the checkpoint of an interrupted run, but are no part of the model that is saved.
        """
        if name not in self.others.layers:
            self.others.layers[name] = make()
        return self.others.layers[name]

    @property
    def trainable_variables(self):
        """All that the optimizer moves."""
        return [*super().trainable_variables, *self._others()]

    @property
    def variables(self):
        """All that a training reads and writes."""
        return [*super().variables, *self._others()]

    def _others(self):
        return [variable for layer in self.others.layers.values() for variable in layer.variables]

    def set_seed(self, seed):
        """Sets the seed of each random layer, so that dropout depends on `seed` alone, not on what was drawn before."""
        self.seed = seed
        states = [variable for variable in self.variables if surgery.is_seed(variable)]
        for state, value in zip(states, np.random.default_rng(seed).integers(2**31, size=len(states)), strict=True):
            state.assign([value, 0])

    def __call__(self, inputs, *args, training=None, **kwargs):
        inputs = _parted(inputs)[0]  # Keras builds the metrics with a whole batch.
        with lean.reading_first_token(self.read_at_first_token):
            if self.frozen and (training or frozen.is_computed(inputs)):
                return self.frozen(inputs, training)
            return super().__call__(inputs, *args, training=training, **kwargs)

    def choose(self, apply):
        """Has a method's function choose what learns."""
        apply(self)
        self.chosen = frozenset(weights.learned(self))
        self.frozen = frozen.of(self)

    def get_config(self):
        """Refuses, so that no file is written that cannot be loaded: of whom such a model was made is in no config."""
        raise UserError(
            "Keras cannot load this model from a file of its own. tuner.save(folder) writes what kerasft.load reads, "
            "tuner.export what servers read, and callbacks such as ModelCheckpoint save with save_weights_only=True. "
            f"Received: {self.name!r}"
        )

    def predict_step(self, data):
        """Keras's; of outputs by token, it makes one row a token, so that batches of different widths can be joined.

        With targets and a head that scores outputs itself, these scores, one row an example.
        """
        with shared.evaluating():
            outputs = super().predict_step(data)
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        if targets is None or not hasattr(self.head, "scores"):
            return by_position(outputs)
        return self.head.scores(outputs, targets)

    def test_step(self, data):
        """Keras's."""
        with shared.evaluating():
            return super().test_step(data)

    def above_frozen(self, x):
        """Returns what stands for these inputs above the frozen part: its outputs, and what else is read."""
        # Features of tokens are those of all tokens.
        with lean.reading_first_token(self.read_at_first_token if self.frozen.head else None):
            return self.frozen.inputs(x)

    def get_weights(self):
        """As `keras.Model.get_weights`; what does not learn comes in the memory of its variables, to be read only.

        `EarlyStopping` keeps such a list.
        """
        learned = {id(variable) for variable in weights.learned(self).values()}
        return [v.numpy() if id(v) in learned else weights.view(v) for v in self.weights]

    def set_weights(self, values):
        """As `keras.Model.set_weights`; what `get_weights` gave in a variable's memory is there already."""
        if len(values) != len(self.weights):
            super().set_weights(values)  # Raises.
        for variable, value in zip(self.weights, values, strict=True):
            if not np.may_share_memory(weights.view(variable), value):
                variable.assign(value)

    def train_step(self, data):
        """Keras's, with the objectives' part in it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = _parted(x)[0]
        step = self._computed(data)
        for variable, value in step.updates:
            variable.assign(value)
        self.optimizer.apply_gradients(zip(step.gradients, self.trainable_variables, strict=True))
        replicas, rows, _ = _count(y, sample_weight)
        for name, metric in self.terms.items():
            metric.update_state(step.terms[name] * replicas, sample_weight=rows / replicas)
        self.mean_loss.update_state(step.loss * replicas, sample_weight=rows / replicas)
        return self.compute_metrics(inputs, y, step.y_pred, sample_weight)

    def attempt(self, data):
        """Returns the loss of a batch and the length of its gradient; the model stays as it is."""
        step = self._computed(data, [variable.value for variable in self.trainable_variables])
        return step.loss, tf.linalg.global_norm(step.gradients)  # What nothing is made of, TensorFlow does not compute.

    def _computed(self, data, values=None):
        """Returns the `Step` of a batch with the objectives' part in it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = (*_parted(x), y, sample_weight)
        compute = functools.partial(self._step, batch)
        if self.rows_at_once:
            compute = functools.partial(steps.in_parts, self, self._step, batch)
        for objective in self.objectives:
            compute = functools.partial(objective.gradients, self, compute)
        return compute(values)

    def _step(self, batch, values=None, states=()):
        """Returns the `Step` of a batch.

        Args:
            batch: inputs, extras, targets and weights of rows.
            values: None, or what the model shall have in place of the trainable variables, which stay as they are.
            states: with values, what it shall have in place of the other variables, or nothing.
        """
        variables, scope = self.trainable_variables, contextlib.nullcontext()
        if values is not None:
            given = zip((*variables, *self.non_trainable_variables), (*values, *states), strict=False)
            scope = keras.StatelessScope(given)
        with tf.GradientTape() as tape:
            tape.watch(values or [])
            with scope:
                loss, y_pred, terms = self._pass(*batch)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables if values is None else values)
        updates = [] if values is None else _updates(scope, self.non_trainable_variables)
        return steps.Step(loss, y_pred, terms, gradients, updates)

    def _pass(self, x, extras, y, sample_weight):
        """Returns loss, outputs and the terms by objective; losses are this replica's part of a sum over replicas."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._counting(sample_weight))
            for objective in self.objectives:
                x = stack.enter_context(objective.forward(self, x, y))
            y_pred = self(x, training=True)
            loss, terms = self.compute_loss(x, y, y_pred, sample_weight, training=True), {}
            for objective, change in zip(self.objectives, self._changes(y, y_pred), strict=True):
                term = objective(self, x, y, y_pred, extras.get(objective.name))
                shares = [_share(value, y, sample_weight) for value in (change, term) if value is not None]
                terms[objective.name] = sum(shares)
        return sum(terms.values(), loss), y_pred, terms

    @contextlib.contextmanager
    def _counting(self, sample_weight):
        """Lets `row_losses` tell words from other tokens meanwhile."""
        self.local.counted = sample_weight if sample_weight is not None and len(sample_weight.shape) == 2 else None
        try:
            yield
        finally:
            self.local.counted = None

    def row_losses(self, y, y_pred):
        """Returns the loss of each row, `(rows,)`, with what the objectives change in it.

        Where words are answered, that of each token, `(rows, length)`, 0 for tokens that are none.
        """
        losses, counted = self._wrapped_losses()[-1](y, y_pred), getattr(self.local, "counted", None)
        return losses if counted is None else losses * counted

    def mixed(self, function):
        """Returns `function` of targets and outputs by row so that mixed rows are scored by the targets of both."""
        for objective in self.objectives:
            if objective.mixes:
                function = functools.partial(objective.loss, function)
        return function

    def step_seed(self, salt):
        """Returns a seed for `tf.random.stateless_…`: a function of the model's seed, the step, its part and a str."""
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        number = tf.constant((zlib.crc32(salt.encode()) + self.seed) % 2**31, "int32")
        return tf.stack([number + replica + PARTS_APART * self.part, tf.cast(self.optimizer.iterations, "int32")])

    @contextlib.contextmanager
    def computing_part(self, part):
        """Lets `step_seed` tell this part of a batch, a scalar int32 tensor, from the others meanwhile."""
        self.part = part
        try:
            yield
        finally:
            self.part = 0

    def _changes(self, y, y_pred):
        """Returns for each objective by how much it changes the loss of each row, or None."""
        pairs = itertools.pairwise(self._wrapped_losses())
        return [
            outer(y, y_pred) - inner(y, y_pred) if objective.changes_loss() else None
            for objective, (inner, outer) in zip(self.objectives, pairs, strict=True)
        ]

    def _wrapped_losses(self):
        """Returns the task's loss by row, and then, one after the other, with what each objective changes in it."""
        plain = keras.losses.get(self.loss).call
        return list(itertools.accumulate(self.objectives, lambda f, o: functools.partial(o.loss, f), initial=plain))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the task's mean loss over the rows of weight above 0 of the whole batch, on however many replicas.

        Keras takes the mean of each replica's mean, which weighs rows wrongly when a last, incomplete batch
        leaves the replicas unequal shares (with one row left, its gradient is halved). `batching` fills such a batch
        with rows of weight 0; here, and in the epoch's mean, they are taken out again.
        """
        replicas, rows, share = _count(y, sample_weight)
        weight = None if sample_weight is None else share * tf.cast(sample_weight, "float32")
        loss = super().compute_loss(x, y, y_pred, weight, training)
        if not training:
            self.mean_loss.update_state(loss * replicas, sample_weight=rows / replicas)
        return loss

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, without the objectives' terms, which are of the training alone."""
        logs = super().evaluate(*args, **kwargs)
        return {k: v for k, v in logs.items() if k not in self.terms} if isinstance(logs, dict) else logs


def _inputs(backbone):
    """Returns a backbone's inputs; one image by itself, as batches have it."""
    inputs = backbone.input
    if isinstance(inputs, dict) and len(inputs) == 1 and "token_ids" not in inputs:
        return next(iter(inputs.values()))
    return inputs


def by_position(outputs):
    """Returns `(batch * length, units)` for outputs by token, `(batch, length, units)`; others as they are."""
    return tf.reshape(outputs, (-1, outputs.shape[-1])) if len(outputs.shape) == 3 else outputs


def features(backbone):
    """Returns what a head reads, as symbolic tensors, whatever the backbone's architecture.

    Text: `{"tokens": (batch, length, width), "mask": (batch, length)}`, those of the decoder where there is an encoder
    too, and `"pooled": (batch, width)` where the backbone has such an output, with weights. Image: `{"image": (batch,
    height, width, channels)}`, or `(batch, patches, channels)`.

    Raises: UserError if the backbone has another output than one of tokens or one of an image.
    """
    outputs = backbone.output
    if not isinstance(outputs, dict):
        outputs = {"sequence_output": outputs}
    if "decoder_sequence_output" in outputs:
        return {"tokens": outputs["decoder_sequence_output"], "mask": backbone.input["decoder_padding_mask"]}
    if "sequence_output" not in outputs:
        raise UserError(
            "The backbone must have an output for the tokens or the image. "
            f"Received: {backbone.name!r} with the outputs {', '.join(outputs)}"
        )
    tokens = outputs["sequence_output"]
    if not isinstance(backbone.input, dict) or "token_ids" not in backbone.input:
        return {"image": tokens}
    mask = backbone.input.get("padding_mask")
    found = {"tokens": tokens, "mask": keras.ops.ones_like(backbone.input["token_ids"]) if mask is None else mask}
    if "pooled_output" in outputs and getattr(backbone, "has_pooler", True):
        found["pooled"] = outputs["pooled_output"]
    return found


def encoder_of(backbone):
    """Returns the encoder of an encoder with a decoder (T5, BART) as a model of its own; any other model as it is.

    It has layers of its own, with the same weights, and its inputs are called as other encoders call them.
    """
    outputs = backbone.output
    if not isinstance(outputs, dict) or "encoder_sequence_output" not in outputs:
        return backbone
    names = "token_ids", "padding_mask"
    inputs = [backbone.input[f"encoder_{name}"] for name in names]
    encoder = keras.Model(inputs, outputs["encoder_sequence_output"], name=backbone.name)
    config = json.dumps(encoder.get_config())
    for name in names:
        config = config.replace(f'"encoder_{name}"', f'"{name}"')
    made = keras.Model.from_config({**json.loads(config), "input_layers": {name: [name, 0, 0] for name in names}})
    made.set_weights(encoder.get_weights())
    return made


def _parted(x):
    """Returns a batch's inputs for the model, and what objectives get beside them."""
    return (x["inputs"], x[EXTRAS]) if isinstance(x, dict) and EXTRAS in x else (x, {})


def _updates(scope, variables):
    """Returns what a pass within a `keras.StatelessScope` would have assigned: statistics and seeds."""
    found = [(variable, scope.get_current_value(variable)) for variable in variables]
    return [(variable, value) for variable, value in found if value is not None]


def _share(term, y, sample_weight):
    """Returns this replica's part of a term: of the mean of `(rows,)` over all replicas' rows, or of a scalar."""
    replicas, rows, _ = _count(y, sample_weight)
    if not len(term.shape):
        return term / replicas
    return tf.reduce_sum(term if sample_weight is None else term * tf.cast(sample_weight, term.dtype)) / rows


def _count(y, sample_weight):
    """Returns how many replicas there are, their rows of weight above 0, and what their mean must be multiplied by.

    Keras divides a weighted sum by all rows; times the share, it is divided by those of weight above 0.
    """
    replicas = float(tf.distribute.get_strategy().num_replicas_in_sync)
    if sample_weight is None:
        return replicas, tf.cast(tf.shape(y)[0], "float32") * replicas, 1.0
    rows, size = tf.cast(tf.math.count_nonzero(sample_weight), "float32"), tf.cast(tf.size(sample_weight), "float32")
    context = tf.distribute.get_replica_context()  # None while Keras builds metrics, outside of any replica.
    rows, size = context.all_reduce("SUM", [rows, size]) if context else (rows, size)
    return replicas, rows, tf.math.divide_no_nan(size, rows)
