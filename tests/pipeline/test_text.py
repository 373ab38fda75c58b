import functools

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasft.pipeline.text import TextPreprocessor, tokenize
from kerasft.tasks._text import marks
from kerasft.tasks.text_classification import TextClassification
from tests import families

FIRST = np.array([*families.TEXTS, "not one of the words 3.14 \u00e9\u00e9 \U0001f642"], dtype=object)
SECOND = np.array(["so it is", *families.TEXTS], dtype=object)
INPUTS = ("padding_mask", "segment_ids", "token_ids")
# One of each kind of tokenizer: WordPiece, SentencePiece, SentencePiece with two separators, byte-level BPE.
CASES = [
    *((family, is_pair) for family in ("bert", "albert") for is_pair in (False, True)),
    *(
        pytest.param(family, is_pair, marks=pytest.mark.slow)
        for family in ("xlm_roberta", "roberta")
        for is_pair in (False, True)
    ),
]


def strings(*texts):
    return np.array(texts, dtype=object)


@pytest.fixture(scope="module")
def made():
    """A function that returns, for a family and a length, its `Pretrained` and our preprocessor; each is made once."""

    @functools.cache
    def pretrained_of(family):
        return families.make(family)

    @functools.cache
    def make(family, sequence_length=24):
        pretrained = pretrained_of(family)
        return pretrained, TextPreprocessor(pretrained.converter, marks(pretrained), sequence_length, INPUTS)

    return make


def keras_hub_ids(pretrained, texts, sequence_length=24):
    """Returns what KerasHub's own classifier preprocessor makes, computed in a graph as ours is."""
    for cls in vars(keras_hub.models).values():
        is_one = isinstance(cls, type) and issubclass(cls, keras_hub.models.TextClassifierPreprocessor)
        if is_one and cls.backbone_cls is type(pretrained.backbone):
            preprocessor = cls(pretrained.converter, sequence_length=sequence_length)
    labels = np.zeros(len(texts[0]))
    data = tf.data.Dataset.from_tensors((texts if len(texts) > 1 else texts[0], labels)).map(preprocessor)
    inputs, _ = next(iter(data))
    return {name: array.numpy() for name, array in inputs.items()}


@pytest.mark.parametrize(("family", "is_pair"), CASES)
def test_ids_are_those_of_keras_hub(made, family, is_pair):
    pretrained, preprocessor = made(family)
    texts = (FIRST, SECOND) if is_pair else (FIRST,)
    theirs = keras_hub_ids(pretrained, texts)
    ours = preprocessor(texts if is_pair else FIRST)
    width = ours["token_ids"].shape[1]
    assert width == max(theirs["padding_mask"].sum(1))
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array[:, :width], err_msg=name)
        assert (array[:, width:] == (preprocessor.pad_id if name == "token_ids" else 0)).all()


@pytest.mark.parametrize(("family", "is_pair"), CASES)
def test_long_texts_are_cut_as_keras_hub_cuts_them(made, family, is_pair):
    pretrained, preprocessor = made(family, sequence_length=9)
    texts = (FIRST, SECOND) if is_pair else (FIRST,)
    theirs = keras_hub_ids(pretrained, texts, sequence_length=9)["token_ids"]
    store = tokenize(preprocessor, [column.tolist() for column in texts])
    assert store.lengths.max() == 9
    np.testing.assert_array_equal(store.gather(np.arange(len(store)), 9)["token_ids"], theirs)


def test_roberta_doubles_the_separator():
    assert marks(families.make("xlm_roberta")) == {"start": [0], "separator": [2, 2], "end": [2]}
    pretrained = families.make("roberta")
    start, end = (pretrained.converter.token_to_id(token) for token in ("<s>", "</s>"))
    assert marks(pretrained) == {"start": [start], "separator": [end, end], "end": [end]}


def test_segments_and_mask_of_a_pair(made):
    _, preprocessor = made("bert")
    ids = preprocessor((strings("a film", "a"), strings("it", "so it is")))
    assert ids["segment_ids"].numpy().tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert ids["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1]]


def test_of_a_pair_the_longer_text_is_cut_first(made):
    _, preprocessor = made("bert", sequence_length=9)
    ids = preprocessor((strings("a"), strings("a very good film , i love it")))
    assert ids["segment_ids"].numpy().tolist() == [[0, 0, 0, 1, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("family", "start", "end"),
    [("gpt2", "<|endoftext|>", "<|endoftext|>"), ("gemma", "<bos>", "<eos>"), ("llama", "<s>", "</s>")],
)
def test_decoders_get_their_start_and_end(made, family, start, end):
    pretrained, preprocessor = made(family)
    made_ids = preprocessor(FIRST)
    ids, mask = made_ids["token_ids"].numpy(), made_ids["padding_mask"].numpy()
    assert (ids[:, 0] == pretrained.converter.token_to_id(start)).all()
    assert (ids[np.arange(len(ids)), mask.sum(1) - 1] == pretrained.converter.token_to_id(end)).all()


def test_a_decoder_without_a_start_token_has_none():
    pretrained = families.make("qwen")
    end = pretrained.converter.token_to_id("<|endoftext|>")
    assert marks(pretrained) == {"start": [], "separator": [end], "end": [end]}


@pytest.mark.parametrize("family", ["bert", "gemma", "gpt2"])
def test_no_row_is_all_padding(made, family):
    _, preprocessor = made(family)
    ids = preprocessor(strings("", " ", "\u200b", "\x07", "\ufffd", "\u0301", "a very good film"))
    assert (ids["padding_mask"].numpy().sum(1) > 0).all()


def test_arrays_and_tensors_are_alike(made):
    _, preprocessor = made("bert")
    expected = preprocessor(strings(*families.TEXTS))
    for given in (np.array(families.TEXTS), tf.constant(families.TEXTS), (strings(*families.TEXTS),)):
        np.testing.assert_array_equal(preprocessor(given)["token_ids"], expected["token_ids"])


def test_eagerly_and_in_a_graph_it_is_the_same(made):
    _, preprocessor = made("gpt2")
    odd = strings("\x00a", "a\u200bb", "I'll don't", "  two  blanks ", "\u5317\u4eac", "\U0001f642\U0001f1eb\U0001f1f7")
    graph = tf.function(lambda texts: preprocessor(texts), input_signature=[tf.TensorSpec((None,), tf.string)])
    np.testing.assert_array_equal(preprocessor(odd)["token_ids"], graph(tf.constant(odd))["token_ids"])


def test_it_is_traced_once(made):
    _, preprocessor = made("bert")
    assert preprocessor.traced(1) is preprocessor.traced(1)
    tokenize(preprocessor, [["good", "bad"]])
    preprocessor(strings("a", "b", "c"))
    assert preprocessor.graph_rows.experimental_get_tracing_count() <= 2  # One column, two columns.


@pytest.mark.parametrize("family", ["bert", "albert"])
@pytest.mark.parametrize("is_pair", [False, True])
def test_the_store_holds_what_the_layer_makes(made, family, is_pair):
    _, preprocessor = made(family)
    texts = (FIRST, SECOND) if is_pair else (FIRST,)
    expected = preprocessor(texts)
    width = expected["token_ids"].shape[1]
    store = tokenize(preprocessor, [column.tolist() for column in texts], np.arange(5), batch_size=2)
    assert len(store) == 5
    gathered = store.gather(np.arange(5), width)
    assert gathered.keys() == set(INPUTS)
    for name, array in gathered.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.dtype == np.int32
    np.testing.assert_array_equal(
        store.gather(np.array([3, 3, 0]), width + 4)["token_ids"][:, :width], expected["token_ids"].numpy()[[3, 3, 0]]
    )


def test_a_backbone_without_a_mask_always_sees_the_same_width():
    pretrained = families.make("f_net")
    preprocessor = TextClassification(labels=["a", "b"], sequence_length=20).preprocessor(pretrained)
    assert preprocessor.fixed_width == 20
    assert preprocessor(strings("good"))["token_ids"].shape == (1, 20)
    assert preprocessor(FIRST)["token_ids"].shape == (5, 20)
    assert set(preprocessor(strings("good"))) == {"token_ids", "segment_ids"}


def test_config_round_trip(made):
    """The vocabulary is a file of its own, as in KerasHub."""
    _, preprocessor = made("bert")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    assert type(again) is TextPreprocessor
    assert again.get_config() == preprocessor.get_config()
    again.tokenizer.set_vocabulary(preprocessor.tokenizer.vocabulary)
    np.testing.assert_array_equal(again(FIRST)["token_ids"], preprocessor(FIRST)["token_ids"])


def test_it_has_no_weights_and_a_known_output(made):
    _, preprocessor = made("bert")
    assert preprocessor.weights == []
    spec = preprocessor.compute_output_spec(None)
    assert {name: tensor.shape for name, tensor in spec.items()} == dict.fromkeys(INPUTS, (None, None))
