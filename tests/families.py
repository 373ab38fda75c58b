"""Every kind of text backbone that KerasHub has, tiny and random, each with a tokenizer of its own kind."""

import functools
import io
import random

TEXTS = (
    "a very good film , i love it !",
    "the plot is bad and dull .",
    "so witty , so warm , a gorgeous movie that made me see the one best scene of it",
    "weak",
)
CAUSAL = ("gpt2", "llama", "llama3", "qwen", "gemma", "mistral", "opt", "bloom", "qwen3", "phi3", "smollm3", "gemma3")
ENCODERS = ("bert", "distil_bert", "roberta", "albert", "deberta_v3", "xlm_roberta", "electra", "f_net", "roformer_v2")
FAMILIES = (*ENCODERS, *CAUSAL)
ENCODER_DECODERS = ("bart", "t5")
ALL = (*FAMILIES, *ENCODER_DECODERS)

SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
GROUPED = {"num_layers": 2, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "intermediate_dim": 32}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def quick_ones(names, *quick):
    """Returns names as the parameters of a test; those that are not quick are left to `make test-slow`."""
    import pytest

    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def make(name):
    """Returns a new `Pretrained` of this family, the same each time, without dropout."""
    import keras

    from kerasft.presets.base import Pretrained

    random.seed(0)  # Keras's initializers draw from it. `set_random_seed` breaks SentencePiece tokenizers made before.
    backbone, tokenizer = globals()[f"_{name}"]()
    # Weights as large as trained ones: with those of the initializer, what attention sees hardly matters.
    for weight in backbone.trainable_weights:
        if "kernel" in weight.path or "embedding" in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=len(weight.path)))
    return Pretrained(f"tiny_{name}", backbone, "text", tokenizer, causal=name in CAUSAL)


def _models():
    import keras_hub

    return keras_hub.models


def words():
    return sorted({word for text in TEXTS for word in text.split()})


def _word_pieces():
    return [*SPECIAL, *words(), "##s", "##ed"]


@functools.cache
def _sentence_pieces(**pieces):
    """Returns the bytes of a SentencePiece model of `TEXTS` with these special pieces."""
    return sentence_pieces(TEXTS * 20, vocab_size=60, **pieces)


def sentence_pieces(texts, **settings):
    """Returns the bytes of a SentencePiece model that is trained on these texts."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=written, hard_vocab_limit=False, minloglevel=2, **settings
    )
    return written.getvalue()


@functools.cache
def byte_pairs(*special):
    """Returns the vocabulary and merges of byte-level BPE with a few merges, after the special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    codes = {byte: byte for byte in printable} | {byte: 256 + index for index, byte in enumerate(others)}
    merges = ["t h", "th e", "i s", "\u0120 a", "o o"]
    tokens = [*special, *(chr(codes[byte]) for byte in range(256)), *(merge.replace(" ", "") for merge in merges)]
    return {token: index for index, token in enumerate(tokens)}, merges


def _bert():
    backbone = _models().BertBackbone(len(_word_pieces()), dropout=0.0, max_sequence_length=64, **SMALL)
    return backbone, _models().BertTokenizer(vocabulary=_word_pieces(), lowercase=True)


def _distil_bert():
    backbone = _models().DistilBertBackbone(len(_word_pieces()), dropout=0.0, max_sequence_length=64, **SMALL)
    return backbone, _models().DistilBertTokenizer(vocabulary=_word_pieces(), lowercase=True)


def _electra():
    backbone = _models().ElectraBackbone(
        len(_word_pieces()), embedding_dim=8, dropout=0.0, max_sequence_length=64, **SMALL
    )
    return backbone, _models().ElectraTokenizer(vocabulary=_word_pieces(), lowercase=True)


def _roformer_v2():
    backbone = _models().RoformerV2Backbone(len(_word_pieces()), head_size=8, dropout=0.0, **SMALL)
    return backbone, _models().RoformerV2Tokenizer(vocabulary=_word_pieces(), lowercase=True)


def _roberta():
    vocabulary, merges = byte_pairs("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    backbone = _models().RobertaBackbone(len(vocabulary), dropout=0.0, max_sequence_length=96, **SMALL)
    return backbone, _models().RobertaTokenizer(vocabulary=vocabulary, merges=merges)


def _albert():
    proto = _sentence_pieces(
        model_type="word", pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", unk_piece="<unk>",
        bos_piece="[CLS]", eos_piece="[SEP]", user_defined_symbols="[MASK]",
    )  # fmt: skip
    tokenizer = _models().AlbertTokenizer(proto=proto)
    backbone = _models().AlbertBackbone(
        tokenizer.vocabulary_size(), embedding_dim=8, dropout=0.0, max_sequence_length=64, **SMALL
    )
    return backbone, tokenizer


def _deberta_v3():
    proto = _sentence_pieces(
        model_type="word", pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]",
    )  # fmt: skip
    tokenizer = _models().DebertaV3Tokenizer(proto=proto)
    backbone = _models().DebertaV3Backbone(
        tokenizer.vocabulary_size(), dropout=0.0, max_sequence_length=64, bucket_size=16, **SMALL
    )
    return backbone, tokenizer


def _xlm_roberta():
    proto = _sentence_pieces(model_type="word", unk_id=0, bos_id=1, eos_id=2)
    tokenizer = _models().XLMRobertaTokenizer(proto=proto)
    backbone = _models().XLMRobertaBackbone(tokenizer.vocabulary_size(), dropout=0.0, max_sequence_length=64, **SMALL)
    return backbone, tokenizer


def _f_net():
    proto = _sentence_pieces(
        model_type="word", pad_id=3, unk_id=0, bos_id=4, eos_id=5, pad_piece="<pad>", unk_piece="<unk>",
        bos_piece="[CLS]", eos_piece="[SEP]", user_defined_symbols="[MASK]",
    )  # fmt: skip
    tokenizer = _models().FNetTokenizer(proto=proto)
    small = {name: size for name, size in SMALL.items() if name != "num_heads"}
    backbone = _models().FNetBackbone(tokenizer.vocabulary_size(), dropout=0.0, max_sequence_length=32, **small)
    return backbone, tokenizer


def _gpt2():
    vocabulary, merges = byte_pairs("<|endoftext|>")
    backbone = _models().GPT2Backbone(len(vocabulary), dropout=0.0, max_sequence_length=96, **SMALL)
    return backbone, _models().GPT2Tokenizer(vocabulary=vocabulary, merges=merges)


def _llama():
    proto = _sentence_pieces(model_type="bpe", unk_id=0, bos_id=1, eos_id=2)
    tokenizer = _models().LlamaTokenizer(proto=proto)
    return _models().LlamaBackbone(tokenizer.vocabulary_size(), **GROUPED), tokenizer


def _llama3():
    vocabulary, merges = byte_pairs(
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
    )
    tokenizer = _models().Llama3Tokenizer(vocabulary=vocabulary, merges=merges)
    return _models().Llama3Backbone(len(vocabulary), **GROUPED), tokenizer


def _mistral():
    proto = _sentence_pieces(model_type="bpe", unk_id=0, bos_id=1, eos_id=2)
    tokenizer = _models().MistralTokenizer(proto=proto)
    return _models().MistralBackbone(tokenizer.vocabulary_size(), sliding_window=8, **GROUPED), tokenizer


def _phi3():
    proto = _sentence_pieces(
        model_type="bpe", unk_id=0, bos_id=1, eos_id=2, bos_piece="<s>", eos_piece="<|endoftext|>",
        user_defined_symbols="</s>",
    )  # fmt: skip
    tokenizer = _models().Phi3Tokenizer(proto=proto)
    return _models().Phi3Backbone(tokenizer.vocabulary_size(), **GROUPED), tokenizer


def _gemma():
    proto = _gemma_pieces()
    tokenizer = _models().GemmaTokenizer(proto=proto)
    return _models().GemmaBackbone(tokenizer.vocabulary_size(), head_dim=8, **GROUPED), tokenizer


def _gemma3():
    tokenizer = _models().Gemma3Tokenizer(proto=_gemma_pieces(), has_vision_tokens=False)
    backbone = _models().Gemma3Backbone(tokenizer.vocabulary_size(), image_size=16, head_dim=8, **GROUPED)
    return backbone, tokenizer


def _gemma_pieces():
    return _sentence_pieces(
        model_type="bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>",
        bos_piece="<bos>", unk_piece="<unk>",
    )  # fmt: skip


def _qwen():
    vocabulary, merges = byte_pairs("<|endoftext|>", "<|im_end|>")
    return _models().QwenBackbone(len(vocabulary), **GROUPED), _models().QwenTokenizer(
        vocabulary=vocabulary, merges=merges
    )


def _qwen3():
    vocabulary, merges = byte_pairs("<|endoftext|>", "<|im_end|>")
    backbone = _models().Qwen3Backbone(len(vocabulary), head_dim=8, **GROUPED)
    return backbone, _models().Qwen3Tokenizer(vocabulary=vocabulary, merges=merges)


def _opt():
    vocabulary, merges = byte_pairs("<s>", "<pad>", "</s>", "<unk>")
    backbone = _models().OPTBackbone(len(vocabulary), dropout=0.0, max_sequence_length=96, **SMALL)
    return backbone, _models().OPTTokenizer(vocabulary=vocabulary, merges=merges)


def _bloom():
    vocabulary, merges = byte_pairs("<unk>", "<s>", "</s>", "<pad>")
    return _models().BloomBackbone(len(vocabulary), **SMALL), _models().BloomTokenizer(
        vocabulary=vocabulary, merges=merges
    )


def _smollm3():
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
    vocabulary, merges = byte_pairs(*special)
    backbone = _models().SmolLM3Backbone(
        len(vocabulary), hidden_dim=16, intermediate_dim=32, num_layers=2, num_attention_heads=2, num_key_value_heads=1,
        attention_bias=False, attention_dropout=0.0, rope_layer_enabled_list=[True, True],
        layer_types=["full_attention"] * 2, mlp_bias=False, layer_norm_epsilon=1e-6, max_position_embeddings=96,
        rope_theta=10000.0, partial_rotary_factor=1.0,
    )  # fmt: skip
    return backbone, _models().SmolLM3Tokenizer(vocabulary=vocabulary, merges=merges)


def _bart():
    vocabulary, merges = byte_pairs("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    backbone = _models().BartBackbone(len(vocabulary), dropout=0.0, max_sequence_length=96, **SMALL)
    return backbone, _models().BartTokenizer(vocabulary=vocabulary, merges=merges)


def _t5():
    proto = _sentence_pieces(
        model_type="word", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>",
        unk_piece="<unk>",
    )  # fmt: skip
    tokenizer = _models().T5Tokenizer(proto=proto)
    return _models().T5Backbone(tokenizer.vocabulary_size(), dropout=0.0, **SMALL), tokenizer
