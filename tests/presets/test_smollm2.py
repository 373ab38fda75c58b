import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from kerasft.presets._smollm2 import SmolLM2Backbone, SmolLM2Tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture
def origin(odd_strings):
    """Byte-level BPE of the `tokenizers` library as SmolLM2 has it, trained on the odd strings."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.train_from_iterator(odd_strings * 2, trainer)
    return tokenizer


@pytest.fixture
def files(origin):
    """The vocabulary and merges of `origin`."""
    model = json.loads(origin.to_str())["model"]
    return model["vocab"], [" ".join(merge) for merge in model["merges"]]


def test_ids_are_those_of_tokenizers_eagerly_and_in_a_graph(origin, files, odd_strings):
    tokenizer = SmolLM2Tokenizer(*files)
    expected = [origin.encode(text).ids for text in odd_strings]
    assert len(files[1]) > 300
    assert tokenizer(odd_strings).to_list() == expected
    assert next(iter(tf.data.Dataset.from_tensors(odd_strings).map(tokenizer))).to_list() == expected


def test_ids_of_random_mixtures_are_those_of_tokenizers(origin, files, odd_strings):
    random = np.random.default_rng(0)
    pool = list("".join(odd_strings)) + [" "] * 200 + ["\n"] * 20
    texts = ["".join(random.choice(pool, size=random.integers(1, 60))) for _ in range(300)]
    assert SmolLM2Tokenizer(*files)(texts).to_list() == [origin.encode(text).ids for text in texts]


def test_kerashubs_own_tokenizer_still_differs(origin, files, odd_strings):
    # Once this fails, tokenize() and what it calls can go.
    stock = keras_hub.tokenizers.BytePairTokenizer(*files)
    expected = [origin.encode(text).ids for text in odd_strings]
    in_graph = next(iter(tf.data.Dataset.from_tensors(odd_strings).map(stock))).to_list()
    assert sum(a != b for a, b in zip(in_graph, expected, strict=True)) > 3


def test_special_tokens_are_text_unless_named(files):
    vocabulary, merges = files
    chat = "<|im_start|>user\nHi  there<|im_end|>"
    plain = SmolLM2Tokenizer(vocabulary, merges)
    assert not {vocabulary[token] for token in SPECIAL} & set(plain(chat).numpy())
    reading = SmolLM2Tokenizer(vocabulary, merges, unsplittable_tokens=SPECIAL)
    middle = plain("user\nHi  there").numpy().tolist()
    assert reading(chat).numpy().tolist() == [1, *middle, 2]
    assert reading([chat, "<|im_end|>", "", "x"]).to_list() == [[1, *middle, 2], [2], [], plain("x").numpy().tolist()]


def test_bytes_without_a_token_are_left_out(origin, files):
    vocabulary, merges = files
    lacking = {token: index for token, index in vocabulary.items() if token != "q"}
    kept = [merge for merge in merges if "q" not in merge]
    other = tokenizers.Tokenizer(models.BPE(lacking, [tuple(merge.split(" ")) for merge in kept]))
    other.pre_tokenizer = origin.pre_tokenizer
    texts = ["aqb", "qq", "quick brown", "a q b"]
    assert SmolLM2Tokenizer(lacking, kept)(texts).to_list() == [other.encode(text).ids for text in texts]


def test_text_comes_back(files, odd_strings):
    tokenizer = SmolLM2Tokenizer(*files)
    assert [tokenizer.detokenize(ids) for ids in tokenizer(odd_strings).to_list() if ids] == [
        t for t in odd_strings if t
    ]


def test_ids_are_the_same_in_a_saved_model_without_python(origin, files, odd_strings, tmp_path):
    tokenizer = SmolLM2Tokenizer(*files)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
    def serve(text):
        return {"ids": tf.gather(module.table, tokenizer(text).to_tensor(0))}

    module = tf.Module()
    module.table = tf.Variable(np.arange(1000, dtype="int32") + 1)  # a raw variable, as exported weights are
    module.serve, module.tokenizer = serve, tokenizer
    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path)).signature_def
        names = signature["serving_default"]
        assert not [node for node in tf.compat.v1.get_default_graph().get_operations() if "PyFunc" in node.type]
        found = session.run(names.outputs["ids"].name, {names.inputs["text"].name: odd_strings})
    expected = [origin.encode(text).ids for text in odd_strings]
    for row, ids in zip(found, expected, strict=True):
        assert row[: len(ids)].tolist() == [index + 1 for index in ids]
        assert set(row[len(ids) :].tolist()) <= {1}


def test_ties_survive_serialisation():
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    backbone = SmolLM2Backbone(vocabulary_size=11, tie_word_embeddings=True, **sizes)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(backbone))
    assert type(again) is SmolLM2Backbone
    assert [weight.path for weight in again.weights] == [weight.path for weight in backbone.weights]
    stock = keras_hub.models.LlamaBackbone(vocabulary_size=11, tie_word_embeddings=True, **sizes)
    # Once this fails, SmolLM2Backbone can go.
    assert len(keras_hub.models.LlamaBackbone.from_config(stock.get_config()).weights) != len(stock.weights)
