import json

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from kerasft.presets import _byte_level, base
from kerasft.presets._decoders import RULES, TOKENIZERS, exact
from kerasft.presets.base import Pretrained
from tests import families

# By `model_type`: the splitter, whether characters are composed, and whether words of the vocabulary ignore merges.
KINDS = {
    "llama": ("llama3", False, True),
    "qwen2": ("qwen2", True, False),
    "smollm3": ("llama3", False, True),
    "gpt_oss": ("o200k", False, False),
}
SPECIAL = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|endoftext|>", "<|im_end|>", "<think>", "</think>"),
)


@pytest.fixture
def mixtures(odd_strings):
    random = np.random.default_rng(0)
    pool = list("".join(odd_strings)) + [" "] * 200 + [*"\n\r\t'/0123456789sStTDlLrReEmM"] * 10
    return odd_strings + ["".join(random.choice(pool, size=random.integers(1, 60))) for _ in range(300)]


def origin(kind, texts):
    """Byte-level BPE of the `tokenizers` library as models of this kind have it, trained on the texts."""
    split, compose, ignore_merges = KINDS[kind]
    pattern = tokenizers.Regex(_byte_level.SPLITS[split] + _byte_level.BLANKS)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC() if compose else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    description = json.loads(tokenizer.to_str())
    description["model"]["ignore_merges"] = ignore_merges
    if ignore_merges:  # Some words are then in the vocabulary that no merges lead to.
        del description["model"]["merges"][-100:]
    return tokenizers.Tokenizer.from_str(json.dumps(description))


def made_of(kind, tokenizer):
    description = json.loads(tokenizer.to_str())
    merges = [" ".join(merge) for merge in description["model"]["merges"]]
    return TOKENIZERS[kind](description["model"]["vocab"], merges, **_byte_level.rules(description))


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers_eagerly_and_in_a_graph(kind, mixtures):
    expected = origin(kind, mixtures * 2)
    tokenizer = made_of(kind, expected)
    ids = [expected.encode(text).ids for text in mixtures]
    assert tokenizer(mixtures).to_list() == ids
    assert next(iter(tf.data.Dataset.from_tensors(mixtures).map(tokenizer))).to_list() == ids


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_an_architecture_keeps_how_texts_are_split(kind, mixtures, tmp_path):
    tokenizer = made_of(kind, origin(kind, mixtures * 2))
    backbone = families.make({"llama": "llama3", "qwen2": "qwen"}[kind]).backbone
    base.write_architecture(Pretrained("tiny", backbone, "text", tokenizer, causal=True), tmp_path)
    again = base.read_architecture(tmp_path).converter
    assert type(again) is type(tokenizer)
    assert again(mixtures).to_list() == tokenizer(mixtures).to_list()
    assert again.end_token_id == tokenizer.end_token_id is not None


def test_a_long_word_is_read_byte_by_byte():
    vocabulary, merges = families.byte_pairs(*SPECIAL)
    tokenizer = TOKENIZERS["qwen2"](vocabulary, merges, split="qwen2")
    assert tokenizer("o" * 512).shape == (256,)
    assert tokenizer("o" * 100_000).shape == (100_000,)


@pytest.mark.parametrize(
    ("normalizer", "splitter"),
    [
        (None, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}),
        (None, {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}]}),
        ({"type": "Lowercase"}, None),
    ],
)
def test_another_way_is_none(normalizer, splitter, odd_strings):
    description = json.loads(origin("qwen2", odd_strings).to_str())
    assert _byte_level.rules(description) == {"split": "qwen2", "compose": True, "ignore_merges": False}
    changes = {"normalizer": normalizer, "pre_tokenizer": splitter or description["pre_tokenizer"]}
    assert _byte_level.rules({**description, **changes}) == {}


@pytest.mark.parametrize("kind", RULES)
def test_a_preset_of_kerashub_gets_the_words_of_its_origin(kind, mixtures):
    reference = origin("qwen2" if kind.startswith("qwen") else kind, mixtures)
    description = json.loads(reference.to_str())
    merges = [" ".join(merge) for merge in description["model"]["merges"]]
    stock = TOKENIZERS[kind].__bases__[1](description["model"]["vocab"], merges)
    found = exact(stock)
    expected = [encoding.ids for encoding in reference.encode_batch(mixtures, add_special_tokens=False)]
    assert found(mixtures).to_list() == expected
    assert found.special_token_ids == stock.special_token_ids
    assert exact(found) is found
