"""Private names of Keras, which only this file and `hub_blocks.py` touch. Each use says why, and what would end it."""

import contextlib
import types
from typing import ClassVar

import keras
import keras_hub
import tensorflow as tf


class ClipAfterReduce:
    """Mixin for a Keras optimizer: clips by the global norm of the gradient summed over all replicas.

    Keras clips each replica's gradient before the sum, so the same recipe trains differently on two devices.
    The hook overridden here is the first point at which the sum exists. Also keeps the norm for logging.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        gradients, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
        gradients = [_without_repeats(gradient) for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        self.gradient_norm.assign(norm)
        if self.clip_norm:
            gradients = self.clipped(gradients, norm)
        return list(zip(gradients, variables, strict=True))

    def clipped(self, gradients, norm):
        """Returns the gradients, whose global norm this is, with `clip_norm` at most."""
        # A norm that is not finite would be spread over all weights; it stays where it is, for TerminateOnNaN.
        return tf.clip_by_global_norm(gradients, self.clip_norm, use_norm=norm)[0]


class RatesByWeight:
    """Mixin for a Keras optimizer: each weight has a learning rate of its own, and decays by it within its update.

    Keras knows one rate for all weights, and decays them before the update, in seven passes over memory. It also counts
    the updates of all weights together, and so takes the moments of one that learns later than others for old ones.

    Attributes:
        factors: dict. `{id(variable): factor}` of weights whose rate is not the optimizer's, but that times a factor.
        joined: dict. `{id(variable): updates before its first}` of weights that learn later than others.
    """

    factors: ClassVar[dict] = {}
    joined: ClassVar[dict] = {}
    before = 0  # Updates before the first of the weight that is being updated.

    @property
    def iterations(self):
        """The number of updates so far; within that of a weight, of those since it joined."""
        return super().iterations - self.before if self.before else super().iterations

    def _apply_weight_decay(self, variables):
        pass

    def update_step(self, gradient, variable, learning_rate):
        factor = self.factors.get(id(optimized(self, variable)), 1.0)
        if factor != 1:
            learning_rate *= factor
        decays = self.weight_decay and self._use_weight_decay(variable)
        self.update_kept(gradient, variable, learning_rate, 1.0 - self.weight_decay * learning_rate if decays else None)

    def update_kept(self, gradient, variable, learning_rate, kept):
        """Updates a weight of which decay leaves the share `kept`, or all for None."""
        if kept is not None:
            with tf.control_dependencies([gradient]):  # Sooner, all decayed weights would lie in memory a step long.
                variable.assign(variable * tf.cast(kept, variable.dtype))
        self.before = self.joined.get(id(optimized(self, variable)), 0)
        super().update_step(gradient, variable, learning_rate)
        self.before = 0


def with_rates(optimizer, factors):
    """Returns a copy of a Keras optimizer with `RatesByWeight.factors`."""
    cls = type(optimizer)
    if not issubclass(cls, RatesByWeight):
        cls = type(cls.__name__, (RatesByWeight, cls), {})
    made = cls.from_config(optimizer.get_config())
    made.factors = factors
    return made


def _without_repeats(gradient):
    """Adds up the rows that the sparse gradient of an embedding names twice: only then is its norm right."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def optimized(optimizer, variable):
    """Returns the `keras.Variable` that an update step gets as what TensorFlow made of it."""
    return optimizer._trainable_variables[optimizer._get_variable_index(variable)]


def adam_slots(optimizer, variable):
    """Returns the `tf.Variable`s of both moments that a `keras.optimizers.Adam` keeps for a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index].value, optimizer._velocities[index].value


def bottlenecks(model):
    """Returns the layers of a functional model whose output is all that later ones get to see, but for masks.

    Public Keras lists the operations of a model, not what each of them reads.
    """
    operations = [op for op in model.operations if not isinstance(op, keras.layers.InputLayer)]
    reads = [{id(tensor) for node in op._inbound_nodes for tensor in node.input_tensors} for op in operations]
    made = [tensor for op in operations for node in op._inbound_nodes for tensor in node.outputs]
    floats = {id(tensor) for tensor in (*model.inputs, *made) if "float" in tensor.dtype}
    found, known = [], {id(tensor) for tensor in model.inputs}
    for number, op in enumerate(operations):
        own = {id(tensor) for node in op._inbound_nodes for tensor in node.outputs}
        known |= own
        if known & floats & set().union(*reads[number + 1 :]) == own & floats != set():
            found.append(op)
    return [op for op in found if isinstance(op, keras.layers.Layer)]


class Part(keras.layers.Layer):
    """Computes some tensors of a functional model from others of it. The layers stay the model's.

    Public Keras makes another model for that, after which all layers have nodes of two.

    Args:
        model: functional keras.Model.
        given: dict of its KerasTensors by name. wanted: one, or a dict of them.

    Input shape: dict of tensors, those of the names in `reads`.
    """

    def __init__(self, model, given, wanted):
        super().__init__(dtype="float32", autocast=False)
        nodes, read = _nodes_between(model, given.values(), keras.tree.flatten(wanted))
        # Hidden in it from Keras, which would make them parts of this layer.
        self.hidden = types.SimpleNamespace(nodes=nodes, given=given, wanted=wanted)
        self.reads = [name for name, tensor in given.items() if id(tensor) in read]

    @property
    def layers(self):
        """The layers that it calls."""
        return [node.operation for node in self.hidden.nodes if isinstance(node.operation, keras.layers.Layer)]

    def call(self, inputs, training=None):
        found = {id(self.hidden.given[name]): inputs[name] for name in self.reads}
        for node in self.hidden.nodes:
            args, kwargs = node.arguments.fill_in(found)
            if "training" in getattr(node.operation, "_call_context_args", ()):
                kwargs["training"] = training
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            found.update(zip(map(id, node.outputs), outputs, strict=True))
        return keras.tree.map_structure(lambda tensor: found[id(tensor)], self.hidden.wanted)


def _nodes_between(model, given, wanted):
    """Returns the nodes that lead from given to wanted KerasTensors, in order, and the ids of those given they read."""
    given, nodes, read, left = {id(tensor) for tensor in given}, set(), set(), list(wanted)
    while left:
        tensor = left.pop()
        if id(tensor) in given:
            read.add(id(tensor))
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if id(node) not in nodes:
            nodes.add(id(node))
            left += node.input_tensors
    ordered = (node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth])
    return [node for node in ordered if id(node) in nodes], read


def read_by(layer):
    """Returns what the only call of a layer of a functional model reads: a KerasTensor, or a dict of them."""
    return layer._inbound_nodes[0].arguments.args[0]


def all_layers(model):
    """Returns every layer of the model, nested ones too. Public Keras lists only the outermost."""
    return list(model._flatten_layers(include_self=False))


def is_training(layer):
    """Returns whether a layer that is being called is trained. Public Keras tells only layers that ask for it."""
    return layer._get_call_context().get_value("training")


@contextlib.contextmanager
def training(layer, is_training=True):
    """Has `layer.call`, outside of `layer(…)`, train the layers within that learn of it from Keras alone, or not."""
    layer._get_call_context().set_value("training", is_training)
    try:
        yield
    finally:
        layer._maybe_reset_call_context()


def is_seed(variable):
    """Returns whether a variable is the state that a random layer draws from."""
    return variable.path.endswith("seed_generator_state")


def without_autocast():
    """Has variables of layers of less precision be read as they are for a while."""
    from keras.src.backend.common.variables import AutocastScope

    return AutocastScope(None)


def unrecorded():
    """Has no `tf.GradientTape` record what is computed for a while. Public TensorFlow stops one tape at a time."""
    from tensorflow.python.eager import record

    return record.stop_recording()


def add_sublayer(layer, sublayer):
    """Makes `sublayer` a part of a layer that is built already, which Keras forbids but does itself for LoRA."""
    layer._tracker.unlock()
    setattr(layer, sublayer.name, sublayer)
    layer._tracker.lock()


def remove_sublayer(layer, sublayer):
    """Undoes `add_sublayer`. Keras deletes the attribute, and still counts the weights."""
    layer._tracker.unlock()
    layer._tracker.untrack(sublayer)
    delattr(layer, sublayer.name)
    layer._tracker.lock()


def drop_kernel(layer):
    """Takes the kernel of a Dense or EinsumDense out of a layer, as Keras's own `quantize` does.

    `del`, as there, would collect garbage for each layer, which takes seconds for a model.
    """
    layer._untrack_variable(layer._kernel)
    layer._kernel = None


def give_kernel(layer, value):
    """Gives a layer a frozen kernel of this value, in the place of one that was dropped."""
    layer._tracker.unlock()
    layer._kernel = layer.add_weight(name="kernel", shape=value.shape, trainable=False, dtype="float32")
    layer._tracker.lock()
    layer._kernel.assign(value)


def sublayers(layer):
    """Returns the layers directly within a layer."""
    return list(layer._layers)


@contextlib.contextmanager
def forgotten_gradients():
    """Forgets afterwards the gradients that `tf.custom_gradient` registered in the graphs traced meanwhile.

    TensorFlow keeps each for ever, and with it the graph and the weights that it reads: a search would hold the models
    of all its trials. Ends when TensorFlow lets go of them itself.
    """
    from tensorflow.python.framework import ops

    known = set(ops.gradient_registry.list())
    try:
        yield
    finally:
        for name in set(ops.gradient_registry.list()) - known:
            del ops.gradient_registry._registry[name]


def leave_to_dataset(*functions):
    """Has a `tf.data.Dataset` alone keep the plain functions that it calls by `tf.numpy_function`.

    TensorFlow keeps them with its default graph, for ever, and with them the data, and the models that these lead to.
    """
    kept = getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", [])
    for function in functions:
        with contextlib.suppress(ValueError):
            kept.remove(function.ag_dnc_wrapper__)


def load_backbone(cls, preset, load_weights, has_pooler):
    """Loads a BERT of Hugging Face as `cls`, a subclass of KerasHub's class, which `from_preset` refuses.

    KerasHub's conversion wants a pooler; without one, the layer stays as it is.
    """
    from keras_hub.src.utils.preset_utils import get_preset_loader
    from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

    class Tensors(SafetensorLoader):
        def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
            if has_pooler or not hf_weight_key.startswith("pooler."):
                super().port_weight(keras_variable, hf_weight_key, hook_fn)

    loader = get_preset_loader(preset)
    backbone = loader.load_backbone(cls, False, has_pooler=has_pooler)
    if load_weights:
        with Tensors(preset) as tensors:
            loader.converter.convert_weights(backbone, tensors, loader.config)
    return backbone


def preset_file(preset, name):
    """Returns the local path of a file of a KerasHub preset, downloaded if need be, or None if it has no such file."""
    from keras_hub.src.utils.preset_utils import get_file

    try:
        return get_file(preset, name)
    except FileNotFoundError:
        return None


def legacy_model(config):
    """Returns the model of the config in an `.h5` file, with random weights. Public Keras builds it with its weights.

    As `keras.saving.load_model` does it, in safe mode. Ends when Keras reads `.h5` files no more.
    """
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving.serialization_lib import SafeModeScope

    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(True):
        return saving_utils.model_from_config(config)


def hugging_face_tensor(preset, name):
    """Returns a tensor of a Hugging Face preset's safetensors by the end of its name, whatever comes before it."""
    from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

    with SafetensorLoader(preset) as loader:
        return loader.get_tensor(name)


def set_dtype_policy(model, policy):
    """Sets the dtype policy of the layers below the head and forgets compiled functions.

    The head stays in float32, and so do embeddings: a lower precision would cast the whole table at each step.
    """
    for outer in model.layers:
        # The latter adds up what its parts give as it is.
        if outer is not model.head and not isinstance(outer, keras_hub.layers.TokenAndPositionEmbedding):
            for layer in outer._flatten_layers():
                if not isinstance(layer, keras.layers.Embedding):
                    layer.dtype_policy = policy
    model.train_function = model.test_function = model.predict_function = None


def build_metrics(model, signature):
    """Makes the variables of the metrics of a compiled model, as its first batch does.

    Args:
        signature: `tf.TensorSpec` of a batch's targets.
    """
    if not model._compile_metrics.built:
        targets = tf.zeros([side or 1 for side in signature.shape], signature.dtype)
        model._compile_metrics.build(targets, keras.KerasTensor((1, *model.output_shape[1:])))


def set_direction(metric, direction):
    """Sets whether `"up"` or `"down"` is better: without it a callback with `mode="auto"` refuses the metric."""
    metric._direction = direction


def maker(layer, name):
    """Returns the layer whose only call makes the input `name` of a layer of a functional model, or None."""
    return _maker(read_by(layer)[name])


def maker_below_pooler(layer):
    """Returns the layer whose first token goes through a Dense layer to be the input `pooled` of a layer, or None."""
    dense = maker(layer, "pooled")
    if not isinstance(dense, keras.layers.Dense):
        return None
    taken = read_by(dense)._keras_history.operation
    if type(taken).__name__ != "GetItem":
        return None
    tokens, place = taken._inbound_nodes[0].arguments.args
    return _maker(tokens) if place == (slice(None), 0, slice(None)) else None


def _maker(tensor):
    """Returns the layer whose only call makes a KerasTensor, or None if it is called more than once."""
    operation = tensor._keras_history.operation
    return operation if len(operation._inbound_nodes) == 1 else None


def summary_writers(callback):
    """Returns the training and the validation writer of a `keras.callbacks.TensorBoard`, within `fit`.

    A second writer to the same folder makes a second file, and TensorBoard's slower reader follows only one.
    """
    return callback._train_writer, callback._val_writer
