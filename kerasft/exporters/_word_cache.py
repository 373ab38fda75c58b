"""KerasHub's byte-pair tokenizers keep every word they ever saw; what is exported must not."""

import contextlib

import keras_hub
import tensorflow as tf

LIMIT = 100_000  # words, of some 100 bytes each


@contextlib.contextmanager
def bounded(preprocessor):
    """Gives the tokenizer a new, bounded cache of words for the graphs that are traced within the block.

    With its own, an export would hold the words of the training data, and a server's memory would grow with each
    new word for as long as it runs.
    """
    tokenizer = getattr(preprocessor, "tokenizer", None)
    if not isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        yield
        return
    kept = tokenizer.cache
    empty = kept.empty() if hasattr(kept, "empty") else type(kept)()
    tokenizer.cache = BoundedCache(empty, tokenizer.unsplittable_tokens or [])
    try:
        yield
    finally:
        tokenizer.cache = kept


class BoundedCache(tf.Module):
    """Takes the place of a `BytePairTokenizer`'s cache and stops growing at `LIMIT` words.

    The tokenizer looks the words of a batch up, inserts the pieces of those that were not found, in order, and looks
    the batch up again. The second answer is made of the first and of what was inserted, kept or not.

    Args:
        cache: KerasHub's cache, empty.
        whole: list of str. Special tokens, whose only piece is the token itself.
    """

    def __init__(self, cache, whole):
        super().__init__()
        self.cache = cache
        self.pieces = None
        if whole:
            cache.insert(whole, whole)

    def lookup(self, words):
        """Returns the pieces of each word, joined by blanks, or `""` where it is not known: `(words,)` strings."""
        if self.pieces is None:
            self.found = self.cache.lookup(words)
            return self.found
        pieces, self.pieces = self.pieces, None
        return tf.tensor_scatter_nd_update(self.found, tf.where(self.found == ""), pieces)

    def insert(self, words, pieces):
        """Takes the pieces of the words that `lookup` did not find, and keeps them while there is room."""
        self.pieces = pieces
        has_room = self.cache.id2value.size() + tf.size(words, tf.int64) <= LIMIT
        kept = tf.where(has_room, tf.size(words), 0)
        self.cache.insert(words[:kept], pieces[:kept])
