"""KerasHub's byte-pair tokenizers keep every word they ever saw; what is exported must not."""

import contextlib

import keras_hub
import tensorflow as tf


@contextlib.contextmanager
def forgotten(preprocessor):
    """Lets graphs that are traced within the block tokenize each batch afresh, without a table that grows.

    With that table an export would hold the words of the training data, and a server's memory grow with each new
    word for as long as it runs.
    """
    tokenizer = getattr(preprocessor, "tokenizer", None)
    if not isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        yield
        return
    kept, tokenizer.cache = tokenizer.cache, BatchCache(tokenizer.unsplittable_tokens or [])
    try:
        yield
    finally:
        tokenizer.cache = kept


class BatchCache:
    """Takes the place of KerasHub's cache and knows only the batch at hand.

    The tokenizer looks all words up, inserts the pieces of those that were not found, in order, and looks all up
    again; that is all that is answered here.

    Args:
        whole: list of str. Special tokens, whose only piece is the token itself.
    """

    def __init__(self, whole):
        self.whole = whole
        self.pieces = None

    def lookup(self, words):
        """Returns the pieces of each word, joined by blanks, `""` where they are not known: `(words,)` strings."""
        is_whole = tf.equal(words[:, None], tf.constant(self.whole, tf.string, (1, len(self.whole))))
        found = tf.where(tf.reduce_any(is_whole, axis=1), words, "")
        if self.pieces is None:
            return found
        pieces, self.pieces = self.pieces, None
        return tf.tensor_scatter_nd_update(found, tf.where(found == ""), pieces)

    def insert(self, words, pieces):
        """Takes the pieces of the words that the last `lookup` did not find."""
        self.pieces = pieces
