"""A low-rank update beside chosen kernels."""

import functools
import math
from typing import ClassVar

import keras

from kerasft import deltas
from kerasft.axes import Axes, product, scaled
from kerasft.checks import check, check_below_one, check_whole
from kerasft.errors import UserError
from kerasft.methods import _peft
from kerasft.methods.base import Method

KERNELS = (*deltas.LINEAR, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
KINDS = (*KERNELS, keras.layers.Embedding)


class LoRA(Method):
    """Trains a low-rank update of chosen kernels, and the head; everything else stays frozen.

    Adds `rank * (d_in + d_out)` weights a kernel, and no cost in an export, which has them in the kernel. Needs little
    memory for gradients and optimizer, and a megabyte or a few on disk for each task.

    Args:
        rank: int, 1 or more. Inner width of the update.
        alpha: float above 0, or None for `2 * rank`. The update is multiplied by `alpha / rank`.
        dropout: float from 0 to 1. Of what the update reads, while training; Embedding layers read numbers of tokens,
            which are not dropped.
        layers: str or None. Regular expression searched in `layer.path`; finds Dense, EinsumDense, Embedding and
            convolution layers; `"query|value"` is the choice of the paper. None takes all Dense and EinsumDense layers,
            which came closest to `full`, as Dettmers et al. 2023 found; in a backbone without them all convolutions.
        scale_by_root: bool. True multiplies by `alpha / sqrt(rank)` instead (rsLoRA): better for high ranks.
        use_dora: bool. True also learns the length of each output's kernel, apart from its direction (DoRA).

    Raises: UserError for arguments out of range, if no layer path matches `layers`, or without `layers` in a backbone
        that has no kernel at all.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, method={"name": "lora", "rank": 16})
    Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1; which layers: Dettmers et al. 2023,
        https://arxiv.org/abs/2305.14314, section 4; rsLoRA: Kalajdzievski 2023, https://arxiv.org/abs/2312.03732;
        DoRA: Liu et al. 2024, https://arxiv.org/abs/2402.09353, section 4.
    """

    learning_rate: ClassVar[dict] = {"text": 1e-3, "image": 2e-3}

    def __init__(self, rank=8, alpha=None, dropout=0.0, layers=None, scale_by_root=False, use_dora=False):  # noqa: PLR0913
        check_whole("lora", "rank", rank)
        if alpha is not None:
            check("lora", "alpha", alpha, 0, low_is_allowed=False)
        check_below_one("lora", "dropout", dropout)
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.layers = layers
        self.scale_by_root = scale_by_root
        self.use_dora = use_dora
        self.start = None

    @classmethod
    def from_peft(cls, folder):
        """Returns the LoRA that goes on from an adapter saved by Hugging Face's PEFT; a head in it is not read.

        What is saved after training needs the folder no more. `tuner.export(path, format="peft")` writes such a folder.

        Args:
            folder: path of a folder with `adapter_config.json` and `adapter_model.safetensors`.

        Raises: UserError if it holds no LoRA of a BERT, RoBERTa, DistilBERT, Llama, Mistral or Qwen2; in `attach`, if
            it is of another backbone.
        Example: >>> kerasft.FineTuner(task=…, backbone="hf://…", method=kerasft.methods.LoRA.from_peft("adapter"))
        """
        arguments, start = _peft.read(folder)
        method = cls(**arguments)
        method.start = start
        return method

    def attach(self, model):
        scale = (self.alpha or 2 * self.rank) / (math.sqrt(self.rank) if self.scale_by_root else self.rank)
        for layer in self._targets(model):
            deltas.attach(layer, LowRank(self.rank, scale, self.dropout, self.use_dora))
        if self.start:
            _peft.assign(deltas.of(model), self.start)

    def apply(self, model):
        deltas.train_only(model)

    def _targets(self, model):
        if self.layers is not None:
            return deltas.choose(model, self.layers, KINDS)
        found = deltas.find(model, ".") or deltas.find(model, ".", KERNELS)
        if not found:
            kinds = ", ".join(kind.__name__ for kind in KERNELS)
            raise UserError(f"lora: the backbone has none of these layers: {kinds}. Received: layers=None")
        return found


class LowRank(deltas.Delta):
    """Adds `scale * b(a(x))` to what a layer's kernel makes of `x`; `b` begins at zero.

    Args:
        rank: int. scale: float. dropout: float. use_dora: bool.
    """

    place = "linear"
    can_merge = True

    def __init__(self, rank, scale, dropout=0.0, use_dora=False):
        super().__init__(name="lora")
        self.rank = rank
        self.scale = scale
        self.use_dora = use_dora
        self.dropout = keras.layers.Dropout(dropout, name="dropout") if dropout else None

    def build_for(self, layer):
        self.axes, is_embedding = Axes(layer), isinstance(layer, keras.layers.Embedding)
        # Not as attributes, which Keras would take for weights of this layer.
        self.own = functools.partial(_kernel_and_bias, layer)
        inputs, outputs = self.axes.sizes(self.own()[0].shape)
        if is_embedding:
            self.dropout = None
        first, second = _initializers(inputs, is_embedding)
        self.a = self.add_weight(name="a", shape=(*inputs, self.rank), initializer=first)
        self.b = self.add_weight(name="b", shape=(self.rank, *outputs), initializer=second)
        self.down = _projection(layer, self.axes)
        if self.use_dora:
            self.length = self.add_weight(name="length", shape=outputs, initializer="ones")
            self.length.assign(self._lengths(self.own()[0]))
            self.length.decays = False

    def call(self, inputs, outputs, training=False):
        if self.dropout:
            inputs = self.dropout(inputs, training=training)
        axes, narrow = self.axes, self.down(inputs, self.a)
        letters = f"{axes.rest}{axes.free}", f"{axes.free}{axes.outputs}", axes.written
        change = product(narrow, self.scale * keras.ops.convert_to_tensor(self.b), *letters)
        return self._turned(outputs, change) if self.use_dora else outputs + change

    def change(self):
        """Returns what is added to the kernel, of its shape."""
        axes = self.axes
        equation = f"{axes.inputs}{axes.free},{axes.free}{axes.outputs}->{axes.kernel}"
        return self.scale * keras.ops.einsum(equation, self.a, self.b)

    def merge(self, layer):
        axes, (kernel, _) = self.axes, self.own()
        merged = kernel + self.change()
        if self.use_dora:
            factor = self.length / self._lengths(merged)
            merged = scaled(merged, factor, axes.kernel, axes.outputs)
        kernel.assign(merged)

    def _turned(self, outputs, change):
        """Returns `outputs` for a kernel whose direction changes by `change` and whose lengths are learned."""
        kernel, bias = self.own()
        # The paper's section 4.3 takes the length for a constant in the gradient, which saves memory.
        length = keras.ops.stop_gradient(self._lengths(kernel + self.change()))
        factor, axes = self.length / length, self.axes
        linear = (outputs if bias is None else outputs - bias) + change
        turned = scaled(linear, factor, axes.written, axes.outputs)
        return turned if bias is None else turned + bias

    def _lengths(self, kernel):
        axes = [self.axes.kernel.index(letter) for letter in self.axes.inputs]
        return keras.ops.sqrt(keras.ops.sum(keras.ops.square(kernel), axes))


def _kernel_and_bias(layer):
    if isinstance(layer, keras.layers.Embedding):
        return layer.embeddings, None
    return layer.kernel, layer.bias


def _projection(layer, axes):
    """Returns the function of `x` and `a` that does what the layer does, but for the number of outputs."""
    if isinstance(layer, keras.layers.Embedding):
        return lambda ids, a: keras.ops.take(a, ids, axis=0)
    if isinstance(layer, deltas.LINEAR):
        letters = axes.read, f"{axes.inputs}{axes.free}", f"{axes.rest}{axes.free}"
        return lambda x, a: product(x, keras.ops.convert_to_tensor(a), *letters)
    if layer.groups > 1:
        raise UserError(f"lora: a convolution in groups cannot have it. Received: {layer.path}, groups={layer.groups}")
    return layer.convolution_op


def _initializers(inputs, is_embedding):
    """Returns those of `a` and `b`: uniform below `1 / sqrt(d_in)` and zero; of an embedding, zero and normal."""
    if is_embedding:
        return "zeros", keras.initializers.RandomNormal(stddev=1.0)
    bound = 1 / math.sqrt(math.prod(inputs))
    return keras.initializers.RandomUniform(-bound, bound), "zeros"
