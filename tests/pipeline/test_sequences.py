import numpy as np
import pytest
import tensorflow as tf

from kerasft.pipeline import sequences
from kerasft.tasks.seq2seq import Seq2seq
from tests import families

SOURCES = ["the film", "a very good film , i love it !", "weak"]
WRITTEN = ["so warm , so witty", "dull", "the one best scene of it that made me see"]


def made(name, **arguments):
    preprocessor = Seq2seq(**arguments).preprocessor(families.make(name))
    return preprocessor, sequences.tokenize(preprocessor, SOURCES, WRITTEN)


@pytest.mark.parametrize("name", families.ENCODER_DECODERS)
def test_batches_are_those_of_kerashub(name):
    import keras_hub

    pretrained = families.make(name)
    preprocessor, examples = made(name)
    inputs = examples.gather(np.arange(3), 40)
    targets, weights = examples.gather_targets(np.arange(3), 40)
    kind = {"bart": keras_hub.models.BartSeq2SeqLMPreprocessor, "t5": keras_hub.models.T5Seq2SeqLMPreprocessor}[name]
    length = inputs["decoder_token_ids"].shape[1]
    theirs = kind(pretrained.converter, encoder_sequence_length=40, decoder_sequence_length=length)
    expected, following, counted = theirs({"encoder_text": SOURCES, "decoder_text": WRITTEN})
    for key, values in inputs.items():
        # The token that ends a text is none that the decoder reads, but where rows are filled up.
        is_read = np.ones_like(values, bool)
        if key.startswith("decoder"):
            is_read = np.array(expected["decoder_padding_mask"]) & np.array(counted)
        np.testing.assert_array_equal(np.where(is_read, values, 0), np.where(is_read, expected[key], 0))
    given = len(preprocessor.begin) - 1  # What is always given first is not learned.
    assert (targets[:, :given] == -1).all()
    is_learned = np.array(counted, bool)[:, given:]
    np.testing.assert_array_equal(targets[:, given:][is_learned], np.array(following)[:, given:][is_learned])
    np.testing.assert_array_equal(weights[:, given:], is_learned)


def test_a_prefix_comes_before_each_text():
    plain, prefixed = Seq2seq(), Seq2seq(prefix="very good : ")
    pretrained = families.make("t5")
    texts = tf.constant(SOURCES)
    with_prefix = prefixed.preprocessor(pretrained).rows(texts)["token_ids"]
    expected = plain.preprocessor(pretrained).rows(tf.constant([f"very good : {s}" for s in SOURCES]))["token_ids"]
    assert with_prefix.to_list() == expected.to_list()


def test_long_targets_lose_their_end_but_not_the_token_that_ends_them():
    preprocessor, examples = made("t5", max_new_tokens=4)
    assert examples.cut == 2
    targets, _ = examples.gather_targets(np.arange(3))
    assert targets.shape == (3, 4)
    assert [row[row >= 0][-1] for row in targets] == [preprocessor.marks["end"][0]] * 3


def test_what_is_written_is_part_of_the_digest():
    preprocessor, examples = made("bart")
    other = sequences.tokenize(preprocessor, SOURCES, WRITTEN[::-1])
    assert examples.digest() != other.digest() == sequences.tokenize(preprocessor, SOURCES, WRITTEN[::-1]).digest()
