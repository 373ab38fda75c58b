"""KerasHub's transformer blocks from within: beside `surgery.py` the only file that may touch private names."""

import functools

import tensorflow as tf

from kerasft import surgery


def set_feed_forward_activation(encoder, activation):
    """Gives a KerasHub `TransformerEncoder` another activation. Ends when KerasHub's BERT takes one as argument."""
    encoder.activation = encoder._feedforward_intermediate_dense.activation = activation


def name_by_place(model):
    """Names T5's normalisations by what they are of their block.

    KerasHub gives them no name, and so Keras one by how many there were in the process before: no file of weights of
    another process would fit. Ends when KerasHub names them.
    """
    for block in surgery.all_layers(model):
        for place, layer in vars(block).items():
            if type(layer).__name__ == "T5LayerNorm" and layer.name.startswith("t5_layer_norm"):
                layer.name, layer._path = place, f"{block.path}/{place}"
                for weight in layer.weights:
                    weight._path = f"{layer.path}/{weight.name}"


def encode_first_token(encoder, x, padding_mask, training):
    """Returns a KerasHub `TransformerEncoder`'s output at the first token, `(batch, 1, width)`, and computes no other.

    Ends when its `call` takes the query apart from what it attends to.
    """
    first = x[:, :1]
    before, after = _norms(encoder, encoder._self_attention_layer_norm)
    x = before(x)
    mask = padding_mask[:, None]
    attended = encoder._self_attention_layer(query=x[:, :1], value=x, attention_mask=mask, training=training)
    x = after(first + encoder._self_attention_dropout(attended, training=training))
    before, after = _norms(encoder, encoder._feedforward_layer_norm)
    inner = encoder._feedforward_output_dense(encoder._feedforward_intermediate_dense(before(x)))
    return after(x + encoder._feedforward_dropout(inner, training=training))


def _norms(encoder, norm):
    """Returns what is done to the input of a part of an encoder, and to its output."""
    return (norm, tf.identity) if encoder.normalize_first else (tf.identity, norm)


def rotary_attention(block):
    """Returns the attention layer of a KerasHub decoder block that by position and mask alone tells tokens apart."""
    kinds = ("LlamaTransformerDecoder", "MistralTransformerDecoder", "QwenTransformerDecoder")
    attention = getattr(block, "_self_attention_layer", None)
    is_windowed = getattr(attention, "use_sliding_window_attention", False)  # Qwen's; Mistral's is in its mask.
    return attention if type(block).__name__ in kinds and not is_windowed else None


def wrap_attention(attention, attend, positions):
    """Has a `rotary_attention` call `attend(own, query, key, value, mask)` and `positions(own, …)`, `(length,)`."""
    attention._compute_attention = functools.partial(attend, attention._compute_attention)
    own = attention.rotary_embedding_layer._compute_positions
    attention.rotary_embedding_layer._compute_positions = functools.partial(positions, own)


def set_rotation(rotary, rotate):
    """Has a `keras_hub.layers.RotaryEmbedding` call `rotate(x, cos, sin)`, the latter broadcast to `x`."""
    rotary._apply_rotary_pos_emb = rotate


def self_attention_mask(block, x, padding_mask):
    """Returns what the tokens of `x` attend to in a KerasHub decoder block, `(batch, length, length)`."""
    return block._compute_self_attention_mask(x, padding_mask, None, None, None)
