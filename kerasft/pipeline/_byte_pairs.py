"""What KerasHub's byte-pair tokenizers need before they can be given any text."""

import keras_hub
import tensorflow as tf

LONGEST_WORD = 512  # in bytes: some 170 Chinese characters without a mark between them


def adapt(tokenizer):
    """Has a byte-pair tokenizer take special tokens for text, and long words in bounded time; others stay as they are.

    As it comes, "<|endoftext|>" in a user's text ends the document, and so does "ĴA", by which KerasHub marks it.
    """
    if not isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        return
    tokenizer.unsplittable_tokens = []  # Read each time that `tokenize` is traced.
    if tokenizer.cache is not None and not isinstance(tokenizer.cache, LongWords):
        tokenizer.cache = LongWords(tokenizer.cache, tokenizer.byte2unicode)


class LongWords(tf.Module):
    """A `BytePairTokenizer`'s cache that knows each long word: its pieces are its bytes.

    The tokenizer merges one pair a step in all new words of a batch, as a table as wide as the longest: a word of
    8,000 letters took 35 seconds, one of a million would take the machine.

    Args:
        cache: KerasHub's cache.
        symbols: table from a byte to the character that stands for it in the vocabulary.
    """

    def __init__(self, cache, symbols):
        super().__init__()
        self.cache = cache
        self.symbols = symbols

    @property
    def id2value(self):
        """The table of the words that were merged."""
        return self.cache.id2value

    def empty(self):
        """Returns one that knows no words."""
        return LongWords(type(self.cache)(), self.symbols)

    def lookup(self, words):
        """Returns the pieces of each word, joined by blanks, or `""` where it is not known: `(words,)` strings."""
        is_long = tf.strings.length(words) > LONGEST_WORD
        symbols = self.symbols.lookup(tf.strings.bytes_split(tf.where(is_long, words, "")))
        return tf.where(is_long, tf.strings.reduce_join(symbols, axis=-1, separator=" "), self.cache.lookup(words))

    def insert(self, words, pieces):
        """Keeps the pieces of words."""
        self.cache.insert(words, pieces)
