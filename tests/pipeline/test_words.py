import numpy as np
import pytest
import tensorflow as tf

from kerasft.pipeline import batching, words
from kerasft.tasks._text import EDGE_CASES, text_preprocessor

TEXTS = ["a good film", "the plot was badly made , so bad !", "the", "I loved this movie and the story . " * 20]


def preprocessor(pretrained, length=16):
    return text_preprocessor(pretrained, length, words.WordPreprocessor)


def store(pretrained, texts=TEXTS, length=48):
    return words.tokenize(preprocessor(pretrained, length), [[f" {word}" for word in text.split()] for text in texts])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Peter's café, 3.5 €", ["Peter", "'", "s", "café", ",", "3", ".", "5", "€"]),
        (" two  blanks\u00a0and\tmore\n", ["two", "blanks", "and", "more"]),
        ("北京 hello東", ["北", "京", "hello", "東"]),
        ("e\u0301a 👩‍👧!", ["e\u0301a", "👩", "\u200d", "👧", "!"]),
        ("a\x01b", ["a", "b"]),
        ("\x07", []),
    ],
)
def test_words_and_their_places(text, expected):
    found, starts, ends = words.split(tf.constant([text]))
    assert [word.decode().strip() for word in found[0].numpy()] == expected
    assert [text[s:e] for s, e in zip(starts[0].numpy(), ends[0].numpy(), strict=True)] == expected


def test_places_count_characters_of_each_text_by_itself():
    found, starts, ends = words.split(tf.constant(EDGE_CASES))
    for text, row, begin, end in zip(EDGE_CASES, found.to_list(), starts.to_list(), ends.to_list(), strict=True):
        assert [text[s:e] for s, e in zip(begin, end, strict=True)] == [word.decode().lstrip(" ") for word in row]


def test_a_word_keeps_the_blank_before_it():
    found, *_ = words.split(tf.constant(["Ann's, and  b", "'tis", ""]))
    assert found.to_list() == [[b" Ann", b"'", b"s", b",", b" and", b" b"], [b" '", b"tis"], []]


def test_parts_of_texts():
    texts = tf.constant(["añb🙂c", "xy"])
    found = words.cut(
        texts, tf.constant([0, 0, 1], tf.int64), *(tf.constant(p, tf.int64) for p in ([1, 3, 0], [4, 4, 2]))
    )
    assert [part.decode() for part in found.numpy()] == ["ñb🙂", "🙂", "xy"]
    assert words.cut(texts, *[tf.zeros([0], tf.int64)] * 3).shape == (0,)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_each_word_is_where_its_first_token_is(make_tiny, name):
    made = store(make_tiny(name))
    tokenizer = made.preprocessor.tokenizer
    for row, text in enumerate(TEXTS):
        for word, (window, position, last) in zip(
            text.split(), made.places.words[made.splits[row] : made.splits[row + 1]], strict=True
        ):
            begin, end = made.offsets[window : window + 2]
            assert begin + last < end
            expected = np.asarray(tokenizer([f" {word}"])[0])
            np.testing.assert_array_equal(made.token_ids[begin + position : begin + last + 1], expected)


def test_windows_overlap_and_words_have_text_on_both_sides(make_tiny):
    made = store(make_tiny("bert"), length=16)
    assert made.lengths.max() <= 16
    windows = made.places.words[made.splits[3] :, 0]
    assert (np.diff(windows) >= 0).all() and len(np.unique(windows)) == len(made) - 3
    inner = made.places.words[made.splits[3] :][(windows > windows[0]) & (windows < windows[-1])]
    assert inner[:, 1].min() >= 2 and inner[:, 1].max() <= 13


def test_a_short_text_is_tokenized_as_a_whole_text_is(make_tiny):
    pretrained = make_tiny("bert")
    whole = text_preprocessor(pretrained, 16)
    rows = whole.rows(tf.constant(TEXTS[:3]))["token_ids"]
    made = store(pretrained, TEXTS[:3])
    np.testing.assert_array_equal(rows.flat_values, made.token_ids)


def test_what_the_tokenizer_makes_nothing_of_counts_as_a_full_stop(make_tiny):
    pretrained = make_tiny("bert")
    strange, plain = (words.tokenize(preprocessor(pretrained), [["a", word, "film"]]) for word in ("\u200d", "."))
    np.testing.assert_array_equal(strange.token_ids, plain.token_ids)
    np.testing.assert_array_equal(strange.places.words, plain.places.words)


def test_targets_lie_where_words_are(make_tiny):
    count = sum(len(text.split()) for text in TEXTS)
    made = store(make_tiny("bert"), length=16)
    made.targets = np.arange(1, count + 1, dtype="int32")
    everything = np.arange(len(made))
    targets, weights = made.gather_targets(everything[::-1], 16)
    assert targets.shape == weights.shape == (len(made), 16)
    assert sorted(targets[weights > 0]) == list(range(1, count + 1)) and not targets[weights == 0].any()
    for number, (window, position, _) in enumerate(made.places.words, start=1):
        assert targets[len(made) - 1 - window, position] == number


def test_answers_come_back_word_by_word(make_tiny):
    made = store(make_tiny("bert"), length=16)
    batches = batching.ordered_batches(made, 3)
    widths = batching.choose_widths(made)
    rows = []
    for batch in batches:
        wide = batching.width(made.lengths[batch], widths)
        rows += [[window, position] for window in batch for position in range(wide)]
    found = made.restored(np.array(rows, "float32"), batches)
    assert found.row_lengths().numpy().tolist() == [len(text.split()) for text in TEXTS]
    np.testing.assert_array_equal(found.flat_values, made.places.words[:, :2])


def test_an_empty_batch(make_tiny):
    layer = preprocessor(make_tiny("bert"))
    rows, places = tf.function(layer.windows, autograph=False)(words.ragged([]))
    assert rows["token_ids"].nrows() == 0 and places.words.shape == (0, 3)
    dense = layer.dense(rows)
    assert all(len(tensor) == 0 for tensor in dense.values())


def test_a_text_without_words_is_a_window_of_marks(make_tiny):
    rows, places = preprocessor(make_tiny("bert")).windows(words.ragged([["a"], [], ["film"]]))
    assert rows["token_ids"].row_lengths().numpy().tolist() == [3, 2, 3]
    assert places.words.numpy().tolist() == [[0, 1, 1], [2, 1, 1]]
