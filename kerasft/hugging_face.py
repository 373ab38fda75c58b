"""What Hugging Face calls the layers that KerasHub's transformers are made of."""

import dataclasses
import re

BERT = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
}
DISTIL_BERT = {
    "self_attention_layer/query": "attention.q_lin",
    "self_attention_layer/key": "attention.k_lin",
    "self_attention_layer/value": "attention.v_lin",
    "self_attention_layer/attention_output": "attention.out_lin",
    "feedforward_intermediate_dense": "ffn.lin1",
    "feedforward_output_dense": "ffn.lin2",
}
LLAMA = {
    "self_attention/query": "self_attn.q_proj",
    "self_attention/key": "self_attn.k_proj",
    "self_attention/value": "self_attn.v_proj",
    "self_attention/attention_output": "self_attn.o_proj",
    "feedforward_gate_dense": "mlp.gate_proj",
    "feedforward_intermediate_dense": "mlp.up_proj",
    "feedforward_output_dense": "mlp.down_proj",
}


@dataclasses.dataclass(frozen=True)
class Family:
    """An architecture under both sets of names.

    Kernels are the same up to their shape: KerasHub's `(inputs, outputs)`, with heads as an axis of their own, is
    Hugging Face's `(outputs, inputs)` transposed and reshaped, rotary embeddings included.

    Attributes:
        backbones: names of classes of `keras_hub.models`.
        blocks: str. What Hugging Face's base model calls its list of blocks; KerasHub's are `transformer_layer_<n>`.
        layers: dict. KerasHub's path of a Dense layer within a block to Hugging Face's name within a block.
    """

    backbones: tuple[str, ...]
    blocks: str
    layers: dict[str, str]

    def name(self, path):
        """Returns Hugging Face's name, within the base model, for KerasHub's path; None if there is none."""
        found = re.fullmatch(r"transformer_layer_(\d+)/(.+)", path)
        inner = found and self.layers.get(found[2])
        return f"{self.blocks}.{found[1]}.{inner}" if found and inner else None

    def path(self, name):
        """Returns KerasHub's path for Hugging Face's name, within whatever model; None if there is none."""
        found = re.search(rf"(?:^|\.){re.escape(self.blocks)}\.(\d+)\.(.+)$", name)
        inner = found and {theirs: ours for ours, theirs in self.layers.items()}.get(found[2])
        return f"transformer_layer_{found[1]}/{inner}" if found and inner else None


FAMILIES = (
    Family(("BertBackbone", "RobertaBackbone", "XLMRobertaBackbone"), "encoder.layer", BERT),
    Family(("DistilBertBackbone",), "transformer.layer", DISTIL_BERT),
    Family(("LlamaBackbone", "MistralBackbone", "QwenBackbone"), "layers", LLAMA),
)


def family_of(backbone):
    """Returns the `Family` of a KerasHub backbone, or None."""
    kinds = {cls.__name__ for cls in type(backbone).__mro__}
    return next((family for family in FAMILIES if kinds & set(family.backbones)), None)


def family_with(names):
    """Returns the `Family` that knows all of these names of Hugging Face's, or None."""
    return next((family for family in FAMILIES if all(family.path(name) for name in names)), None)
