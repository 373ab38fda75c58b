import struct

import numpy as np
import pytest

from kerasft.presets import _conversions, keras_hub

VOCABULARY, WIDTH, HEADS, KEY_HEADS, INNER = 9, 8, 2, 1, 6
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab", "c", "d", "e"]


@pytest.fixture
def weights():
    random = np.random.default_rng(0)
    shapes = {"token_embd": (VOCABULARY, WIDTH), "output_norm": (WIDTH,)}
    for block in ("blk.0", "blk.1"):
        shapes |= {f"{block}.attn_norm": (WIDTH,), f"{block}.ffn_norm": (WIDTH,)}
        shapes |= {f"{block}.attn_q": (WIDTH, WIDTH), f"{block}.attn_output": (WIDTH, WIDTH)}
        shapes |= {f"{block}.attn_k": (4, WIDTH), f"{block}.attn_v": (4, WIDTH)}
        shapes |= {f"{block}.ffn_gate": (INNER, WIDTH), f"{block}.ffn_up": (INNER, WIDTH)}
        shapes |= {f"{block}.ffn_down": (WIDTH, INNER)}
    # Values that float16, in which the preset is stored, holds exactly.
    return {name: random.integers(-64, 64, shape).astype("<f4") / 64 for name, shape in shapes.items()}


@pytest.fixture
def files(weights, tmp_path):
    """A folder with a GGUF file of a Llama of two blocks."""

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def strings(values):
        return struct.pack("<IQ", 8, len(values)) + b"".join(map(text, values))

    whole = {
        "vocab_size": VOCABULARY,
        "block_count": 2,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KEY_HEADS,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
    }
    entries = [text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in whole.items()]
    floats = {"rope.freq_base": 100.0, "attention.layer_norm_rms_epsilon": 1e-2}
    entries += [text(f"llama.{key}") + struct.pack("<If", 6, value) for key, value in floats.items()]
    entries += [text("tokenizer.ggml.tokens") + struct.pack("<I", 9) + strings(TOKENS)]
    entries += [text("tokenizer.ggml.merges") + struct.pack("<I", 9) + strings(["a b"])]
    entries += [text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ messages }}")]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(entries)) + b"".join(entries)
    data = b""
    for name, array in weights.items():
        head += text(f"{name}.weight") + struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape[::-1])
        head += struct.pack("<IQ", 0, len(data))
        data += array.tobytes() + b"\0" * (-array.nbytes % 32)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return folder


def llama(weights, ids):
    """Llama in NumPy as llama.cpp computes it: neighbours in a head are rotated together."""

    def normalize(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-2) * weights[name]

    def heads(x, name):
        return (x @ weights[name].T).reshape(len(ids), -1, 4).transpose(1, 0, 2)

    def rotate(x):
        angle = np.arange(len(ids))[:, None] * 100.0 ** (-np.arange(2) / 2)
        even, odd = x[..., ::2], x[..., 1::2]
        pair = even * np.cos(angle) - odd * np.sin(angle), even * np.sin(angle) + odd * np.cos(angle)
        return np.stack(pair, axis=-1).reshape(x.shape)

    x = weights["token_embd"][ids]
    for block in ("blk.0", "blk.1"):
        y = normalize(x, f"{block}.attn_norm")
        query, key, value = (
            rotate(heads(y, f"{block}.attn_q")),
            rotate(heads(y, f"{block}.attn_k")),
            heads(y, f"{block}.attn_v"),
        )
        scores = np.where(np.tri(len(ids), dtype=bool), query @ key.transpose(0, 2, 1) / 2.0, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (scores / scores.sum(-1, keepdims=True)) @ value
        x = x + attended.transpose(1, 0, 2).reshape(len(ids), -1) @ weights[f"{block}.attn_output"].T
        y = normalize(x, f"{block}.ffn_norm")
        gate = y @ weights[f"{block}.ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ weights[f"{block}.ffn_up"].T)) @ weights[f"{block}.ffn_down"].T
    return normalize(x, "output_norm")


def test_a_converted_llama_computes_what_llama_cpp_does(weights, files, tmp_path):
    folder = tmp_path / "preset"
    folder.mkdir()
    _conversions.smollm2(files, folder)
    pretrained = keras_hub.load(str(folder))
    ids = np.array([3, 8, 0, 5, 6, 1])
    found = pretrained.backbone({"token_ids": ids[None], "padding_mask": np.ones_like(ids)[None]}).numpy()[0]
    expected = llama({name: array.astype("float64") for name, array in weights.items()}, ids)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 1
    assert pretrained.causal and pretrained.backbone.tie_word_embeddings
    assert pretrained.backbone.compute_dtype == "float32"
    assert pretrained.converter("abcabx").numpy().tolist() == [5, 6, 5]
    assert pretrained.converter.end_token_id == 2 and pretrained.converter.pad_token_id == 0
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"


def test_a_weight_that_is_lacking_is_noticed(files, tmp_path, monkeypatch):
    from kerasft.presets import _gguf

    gguf = _gguf.GGUF(files / "tiny.gguf")
    del gguf.tensors["blk.1.ffn_up.weight"]
    monkeypatch.setattr(_gguf, "GGUF", lambda path: gguf)
    with pytest.raises(ValueError, match="lacks weights.*transformer_layer_1/feedforward_intermediate_dense/kernel"):
        _conversions.smollm2(files, tmp_path / "preset")
