import types

import pytest
import tensorflow as tf

from kerasft.exporters import _word_cache
from kerasft.tasks.text_classification import EDGE_CASES


def graph_of(tokenizer):
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(lambda texts: tokenizer(texts).to_tensor(-1), input_signature=[spec], autograph=False)


def bounded_graph_of(tokenizer):
    """Returns the graph with a cache of its own, and that cache's table."""
    graph = graph_of(tokenizer)
    with _word_cache.bounded(types.SimpleNamespace(tokenizer=tokenizer)):
        graph.get_concrete_function()
        return graph, tokenizer.cache.cache.id2value


@pytest.mark.parametrize("limit", [0, 5, 100_000])
def test_ids_are_those_of_the_usual_cache(tiny_gpt2, monkeypatch, limit):
    monkeypatch.setattr(_word_cache, "LIMIT", limit)
    tokenizer = tiny_gpt2.converter
    usual = graph_of(tokenizer)
    bounded, table = bounded_graph_of(tokenizer)
    for texts in (EDGE_CASES, ["the the film", "film"], ["film the new"], [""], []):
        texts = tf.constant(texts, tf.string)
        tf.debugging.assert_equal(bounded(texts), usual(texts))
        assert table.size() <= max(limit, len(tokenizer.unsplittable_tokens or []))


def test_words_are_kept_while_there_is_room(tiny_gpt2):
    bounded, table = bounded_graph_of(tiny_gpt2.converter)
    before = int(table.size())
    bounded(tf.constant(["one two three"]))
    assert int(table.size()) == before + 3


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
