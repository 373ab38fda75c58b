import types

import pytest
import tensorflow as tf

from kerasft.exporters import _word_cache
from kerasft.tasks._text import EDGE_CASES


def graph_of(tokenizer):
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(lambda texts: tokenizer(texts).to_tensor(-1), input_signature=[spec], autograph=False)


def test_ids_are_those_of_the_usual_cache_with_and_without_room(tiny_gpt2, monkeypatch):
    tokenizer = tiny_gpt2.converter
    usual, bounded = graph_of(tokenizer), graph_of(tokenizer)
    monkeypatch.setattr(_word_cache, "LIMIT", 5)
    with _word_cache.bounded(types.SimpleNamespace(tokenizer=tokenizer)):
        bounded.get_concrete_function()
        table = tokenizer.cache.cache.id2value
    before = int(table.size())
    rows = (["the film", "the the"], ["one two three four"], ["film the new", "film"], [""], [], EDGE_CASES, ["a film"])
    for texts in rows:
        texts = tf.constant(texts, tf.string)
        tf.debugging.assert_equal(bounded(texts), usual(texts))
    # One special token; then "the", " film" and " the"; in the end "a". The batches between found no room.
    assert (before, int(table.size())) == (1, 5)


def test_the_tokenizer_gets_its_own_cache_back(tiny_gpt2):
    tokenizer = tiny_gpt2.converter
    kept = tokenizer.cache
    with pytest.raises(RuntimeError), _word_cache.bounded(types.SimpleNamespace(tokenizer=tokenizer)):
        assert tokenizer.cache is not kept
        raise RuntimeError
    assert tokenizer.cache is kept


def test_other_preprocessors_stay_as_they_are(tiny_bert, tiny_efficientnet):
    for converter in (tiny_bert.converter, tiny_efficientnet.converter):
        with _word_cache.bounded(types.SimpleNamespace(tokenizer=converter)):
            assert not hasattr(converter, "cache")
    with _word_cache.bounded(types.SimpleNamespace()) as nothing:
        assert nothing is None
