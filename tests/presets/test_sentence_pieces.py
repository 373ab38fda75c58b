import json
import pathlib

import pytest
import sentencepiece
import tensorflow as tf
import transformers

from kerasft.errors import UserError
from kerasft.presets import _sentence_pieces, base
from kerasft.presets import keras_hub as source
from tests import families

UNIGRAM = {"model_type": "unigram", "vocab_size": 200}
BPE = {
    "model_type": "bpe", "vocab_size": 600, "byte_fallback": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}  # fmt: skip
ALBERT = {
    "pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "pad_piece": "<pad>", "unk_piece": "<unk>",
    "bos_piece": "[CLS]", "eos_piece": "[SEP]", "user_defined_symbols": "[MASK]",
}  # fmt: skip
GEMMA = {
    "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "unk_piece": "<unk>",
    "bos_piece": "<bos>", "eos_piece": "<eos>", "add_dummy_prefix": False,
}  # fmt: skip
DECODER = {
    "vocab_size": 600, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 8,
    "intermediate_size": 8, "rope_theta": 100.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "head_dim": 4,
    "sliding_window": 8,
}  # fmt: skip
ENCODER = {
    "vocab_size": 202, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "max_position_embeddings": 16,
    "type_vocab_size": 2, "embedding_size": 4, "num_hidden_groups": 1, "inner_group_num": 1,
}  # fmt: skip
# By `model_type`: how its pieces are learned, the file they lie in, the class that reads them, the model's config.
FAMILIES = {
    "xlm-roberta": (UNIGRAM, "sentencepiece.bpe.model", "XLMRobertaTokenizer", ENCODER | {"layer_norm_eps": 1e-5}),
    "bert": (UNIGRAM, "sentencepiece.bpe.model", "XLMRobertaTokenizer", ENCODER),
    "albert": (UNIGRAM | ALBERT, "spiece.model", "AlbertTokenizer", ENCODER),
    "gemma": (BPE | GEMMA, "tokenizer.model", "GemmaTokenizer", DECODER),
    "llama": (BPE, "tokenizer.model", "LlamaTokenizer", DECODER),
    "mistral": (BPE, "tokenizer.model", "LlamaTokenizer", DECODER),
}


@pytest.fixture
def folders(tmp_path, odd_strings):
    """Returns a function that makes a folder with SentencePiece's own file, and one as transformers 5 saves it."""

    def make(origin):
        pieces, file, kind, config = FAMILIES[origin]
        # Of runs of one character there would be pieces, by which a run can be split equally well in several ways.
        usual = [text for text in odd_strings if text.isascii() and len(set(text)) > 10]
        old, new = tmp_path / "old", tmp_path / "new"
        for folder in (old, new):
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({"model_type": origin, **config}))
        (old / file).write_bytes(families.sentence_pieces(usual * 5, **pieces))
        (old / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
        tokenizer = getattr(transformers, kind).from_pretrained(str(old))
        tokenizer.save_pretrained(str(new))
        assert not (new / file).exists()
        return str(old), str(new), tokenizer

    return make


def ids(tokenizer, texts):
    return next(iter(tf.data.Dataset.from_tensors(texts).map(tokenizer))).to_list()


@pytest.mark.parametrize("origin", FAMILIES)
def test_ids_are_those_of_transformers_and_of_sentencepieces_file(folders, odd_strings, origin):
    old, new, tokenizer = folders(origin)
    texts = [text for text in odd_strings if not text.startswith(" ") and "\x85" not in text]  # See `proto`.
    expected = tokenizer(texts, add_special_tokens=False)["input_ids"]
    found = source.load(new, weights=False).converter
    assert ids(found, texts) == expected
    assert ids(source.load(old, weights=False).converter, odd_strings) == ids(found, odd_strings)
    assert len(set(map(tuple, expected))) > len(texts) // 2


@pytest.mark.parametrize("origin", ["xlm-roberta", "llama"])
def test_the_tokenizer_comes_back_in_a_preset_and_in_an_architecture(folders, odd_strings, tmp_path, origin):
    found = source.load(folders(origin)[1], weights=False)
    base.write_architecture(found, tmp_path / "architecture")
    found.backbone.save_to_preset(tmp_path / "preset")
    found.converter.save_to_preset(tmp_path / "preset")
    for again in (base.read_architecture(tmp_path / "architecture"), source.load(str(tmp_path / "preset"))):
        assert type(again.converter) is type(found.converter)
        assert ids(again.converter, odd_strings) == ids(found.converter, odd_strings)


def test_further_tokens_keep_their_ids(folders):
    _, new, tokenizer = folders("llama")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(new)
    found = source.load(new, weights=False).converter
    assert [found.token_to_id(token) for token in ("<|user|>", "zyx")] == [len(tokenizer) - 2, len(tokenizer) - 1]
    assert ids(found, ["a zyx"]) == [tokenizer("a zyx", add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize(
    ("origin", "change", "message"),
    [
        (
            "xlm-roberta",
            lambda whole: whole["model"]["vocab"].reverse(),
            "begins with <s>, <pad>, </s>, <unk>",
        ),
        ("xlm-roberta", lambda whole: whole.update(model={"type": "WordLevel"}), "Received: 'WordLevel' with"),
        ("albert", lambda whole: whole["model"].update(unk_id=None), "must say what is unknown. Received: None"),
        ("gemma", lambda whole: whole["model"]["vocab"].pop("<mask>", whole["model"]["vocab"].pop("a")), "with gaps"),
    ],
)
def test_what_is_no_model_of_sentencepiece_is_told(folders, origin, change, message):
    _, new, _ = folders(origin)
    path = pathlib.Path(new) / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["added_tokens"] = []
    change(whole)
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=message):
        source.load(new, weights=False)


def test_without_any_vocabulary_both_ways_are_named(folders):
    _, new, _ = folders("mistral")
    (pathlib.Path(new) / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="must hold a model of SentencePiece, or a tokenizer.json of a Unigram"):
        source.load(new, weights=False)


@pytest.mark.parametrize(
    ("step", "begins"),
    [
        ({"type": "Metaspace", "prepend_scheme": "never"}, False),
        ({"type": "Metaspace", "prepend_scheme": "first"}, True),
        ({"type": "Metaspace", "add_prefix_space": False}, False),
        ({"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "add_prefix_space": True}]}, True),
    ],
)
def test_a_space_in_front_is_as_the_pre_tokenizer_says(step, begins):
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["\u2581a", -2.0]]}
    made = _sentence_pieces.proto({"model": model, "pre_tokenizer": step}, "here")
    assert sentencepiece.SentencePieceProcessor(model_proto=made).encode("a") == [2 if begins else 1]
