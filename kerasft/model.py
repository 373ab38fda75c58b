"""The `keras.Model` that is fine-tuned: the layers of a backbone with a head on top."""

import keras
import numpy as np
import tensorflow as tf

from kerasft import weights
from kerasft.errors import UserError


@keras.saving.register_keras_serializable("kerasft")
class FineTunedModel(keras.Model):
    """A functional model from a backbone's inputs to a head's outputs, with room for further loss terms.

    The backbone's layers are wired in directly, and only those that reach the head, so each has the same
    path as in the backbone and no weight is left without a gradient.

    Args:
        backbone: keras.Model. Its inputs become the model's.
        head: keras.layers.Layer. Called on those of `features(backbone)` that its `reads` names.
        objectives: sequence of `kerasft.objectives.base.Objective`. Loss terms beyond the task's.
    """

    def __init__(self, backbone, head, objectives=(), **kwargs):
        found = features(backbone)
        outputs = head({name: found[name] for name in head.reads})
        super().__init__(inputs=backbone.input, outputs=outputs, **kwargs)
        self.head_name = head.name
        self.objectives = list(objectives)
        # Its name is that of Keras's own mean, which counts the rows of weight 0, and it replaces that one in the logs.
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.terms = {objective.name: keras.metrics.Mean(name=objective.name) for objective in self.objectives}

    @property
    def head(self):
        """The head layer."""
        return self.get_layer(self.head_name)

    @property
    def backbone_layers(self):
        """The layers below the head that hold weights, from the input upwards; stacks of blocks block by block."""
        return weights.unnested(layer for layer in self.layers if layer.name != self.head_name and layer.weights)

    def set_seed(self, seed):
        """Sets the seed of each random layer, so that dropout depends on `seed` alone, not on what was drawn before."""
        states = [variable for variable in self.variables if variable.path.endswith("seed_generator_state")]
        for state, value in zip(states, np.random.default_rng(seed).integers(2**31, size=len(states)), strict=True):
            state.assign([value, 0])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the mean loss over the rows of weight above 0 of the whole batch, on however many replicas.

        Keras takes the mean of each replica's mean, which weighs rows wrongly when a last, incomplete batch
        leaves the replicas unequal shares (with one row left, its gradient is halved). `batching` fills such a batch
        with rows of weight 0; here, and in the epoch's mean, they are taken out again.
        """
        replicas, rows, share = _count(y_pred, sample_weight)
        weight = None if sample_weight is None else share * tf.cast(sample_weight, "float32")
        loss = super().compute_loss(x, y, y_pred, weight, training)
        for objective in self.objectives if training else ():
            term = objective(self, x, y, y_pred)
            self.terms[objective.name].update_state(term)
            loss += term / replicas
        self.mean_loss.update_state(loss * replicas, sample_weight=rows / replicas)
        return loss

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, without the objectives' terms, which are of the training alone."""
        logs = super().evaluate(*args, **kwargs)
        return {k: v for k, v in logs.items() if k not in self.terms} if isinstance(logs, dict) else logs


def features(backbone):
    """Returns what a head reads, as symbolic tensors, whatever the backbone's architecture.

    Text: `{"tokens": (batch, length, width), "mask": (batch, length)}`, and `"pooled": (batch, width)` where the
    backbone has such an output. Image: `{"image": (batch, height, width, channels)}`, or `(batch, patches, channels)`.

    Raises: UserError if the backbone has another output than one of tokens or one of an image.
    """
    outputs = backbone.output
    if not isinstance(outputs, dict):
        outputs = {"sequence_output": outputs}
    if "sequence_output" not in outputs:
        raise UserError(
            "The backbone must be an encoder or a decoder, not both, with one output for the tokens or the image. "
            f"Received: {backbone.name!r} with the outputs {', '.join(outputs)}"
        )
    tokens = outputs["sequence_output"]
    if not isinstance(backbone.input, dict) or "token_ids" not in backbone.input:
        return {"image": tokens}
    mask = backbone.input.get("padding_mask")
    found = {"tokens": tokens, "mask": keras.ops.ones_like(backbone.input["token_ids"]) if mask is None else mask}
    if "pooled_output" in outputs:
        found["pooled"] = outputs["pooled_output"]
    return found


def _count(y_pred, sample_weight):
    """Returns how many replicas there are, their rows of weight above 0, and what their mean must be multiplied by.

    Keras divides a weighted sum by all rows; times the share, it is divided by those of weight above 0.
    """
    replicas = float(tf.distribute.get_strategy().num_replicas_in_sync)
    if sample_weight is None:
        return replicas, tf.cast(tf.shape(y_pred)[0], "float32") * replicas, 1.0
    rows, size = tf.cast(tf.math.count_nonzero(sample_weight), "float32"), tf.cast(tf.size(sample_weight), "float32")
    context = tf.distribute.get_replica_context()  # None while Keras builds metrics, outside of any replica.
    rows, size = context.all_reduce("SUM", [rows, size]) if context else (rows, size)
    return replicas, rows, tf.math.divide_no_nan(size, rows)
