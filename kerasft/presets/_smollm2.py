"""SmolLM2: a Llama with tied embeddings, and a byte-level tokenizer whose ids are the same eagerly and in a graph."""

import re

import keras
import keras_hub
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers.pre_tokenizers import ByteLevel

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

SPACES = r"\t-\r\x{85}\p{Z}"
# RE2 cannot look ahead, which GPT-2's expression does to leave a run's last space to the word behind it. So a mark
# is put there first. It, and what stands in for a null, at which TF Text's splitting would end the text, are code
# points that Unicode keeps from text.
MARK, NULL = "\U0010ffff", "\U0010fffe"
BEFORE_WORD = rf"([{SPACES}])([^{SPACES}\p{{N}}])"
WORD = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+|\p{{N}}| ?[^{SPACES}\p{{L}}\p{{N}}{MARK}]+|[{SPACES}]+"
NEVER = np.iinfo("int32").max  # the rank of two tokens that no rule merges


@keras.saving.register_keras_serializable("kerasft")
class SmolLM2Backbone(keras_hub.models.LlamaBackbone):
    """Llama whose config says whether the embeddings are tied; KerasHub's own forgets it, and then cannot be loaded.

    Source: Allal et al. 2025, https://arxiv.org/abs/2502.02737.
    """

    def get_config(self):
        return {**super().get_config(), "tie_word_embeddings": self.tie_word_embeddings}


@keras.saving.register_keras_serializable("kerasft")
class SmolLM2Tokenizer(keras_hub.tokenizers.BytePairTokenizer):
    """Byte-level BPE with single digits, made of plain TensorFlow ops: no tables, no state, fit for any SavedModel.

    KerasHub's own splits into words in two ways, one eagerly and one in a graph, neither being SmolLM2's.
    Special tokens in a string are text like any other, unless `unsplittable_tokens` names them. Bytes that the
    vocabulary lacks are left out.

    Args:
        vocabulary: dict of str to int, or name of a JSON file.
        merges: list of str such as `"t h"`, or name of a file with one a line.
        unsplittable_tokens: list of str. Tokens to be read from strings as they are; a chat template needs them.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    Source: `Digits` and `ByteLevel` of https://github.com/huggingface/tokenizers; Sennrich et al. 2016,
        https://arxiv.org/abs/1508.07909, for the merges.
    """

    backbone_cls = SmolLM2Backbone

    def __init__(self, vocabulary=None, merges=None, unsplittable_tokens=(), **kwargs):
        # No start token: chat templates write their own, and plain text was trained on without.
        self.start_token_id = self.end_token_id = self.pad_token_id = None
        super().__init__(vocabulary, merges, unsplittable_tokens=list(unsplittable_tokens), **kwargs)

    def set_vocabulary_and_merges(self, vocabulary, merges):
        super().set_vocabulary_and_merges(vocabulary, merges)
        if self.vocabulary is None:
            return
        ids = self.vocabulary
        self.end_token_id, self.pad_token_id = ids[END], ids[PAD]
        pairs = [merge.split(" ") for merge in self.merges]
        self.merged_ids = np.array([ids[left + right] for left, right in pairs], "int32")
        self.first_free_id = max(ids.values()) + 1
        keys = np.array([ids[left] * self.first_free_id + ids[right] for left, right in pairs], "int64")
        self.merge_ranks_by_key = np.argsort(keys).astype("int32")
        self.merge_keys = keys[self.merge_ranks_by_key]
        self.byte_ids = np.array([ids.get(symbol, -1) for symbol in _byte_symbols()], "int32")

    def tokenize(self, inputs):
        texts = tf.convert_to_tensor(inputs)
        valid = tf.strings.unicode_transcode(tf.reshape(texts, (-1,)), "UTF-8", "UTF-8")
        words = self.split_words(tf.strings.regex_replace(valid, r"\x00", NULL))
        unique, places = tf.unique(words.flat_values)
        tokens = tf.gather(self.encode_words(unique), places)
        rows = tf.RaggedTensor.from_row_splits(tokens.values, tf.gather(tokens.row_splits, words.row_splits))
        return rows if texts.shape.rank else rows[0]

    def split_words(self, texts):
        """Returns the words, digits, marks and runs of white space, ragged `(batch, None)`."""
        pieces, whole = self.cut_out_unsplittable(texts)
        marked = tf.strings.regex_replace(tf.where(whole, "", pieces.values), BEFORE_WORD, rf"{MARK}\1\2")
        words = tf_text.regex_split(marked, f"{WORD}|{MARK}", WORD)
        words = tf.concat([_where(whole, pieces.values), words], axis=1)
        return pieces.with_values(words).merge_dims(1, 2)

    def cut_out_unsplittable(self, texts):
        """Returns ragged pieces `(batch, None)`, and for each whether it is an unsplittable token."""
        if not self.unsplittable_tokens:
            return tf.RaggedTensor.from_tensor(texts[:, None]), tf.zeros_like(texts, "bool")
        pattern = "|".join(re.escape(token) for token in sorted(self.unsplittable_tokens, key=len, reverse=True))
        pieces = tf_text.regex_split(texts, pattern, pattern)
        return pieces, tf.strings.regex_full_match(pieces.values, pattern)

    def encode_words(self, words):
        """Returns the ids of each word, ragged `(words, None)` int32: of bytes first, then merged pair by pair."""
        tokens = self.unsplittable_tokens
        found = tf.equal(words[:, None], tf.constant(tokens, tf.string, (1, len(tokens))))
        whole = tf.reduce_any(found, axis=1)
        known = tf.constant([self.vocabulary[token] for token in tokens] + [0], tf.int32)
        rest = self.merge_bytes(tf.where(whole, "", words))
        return tf.concat([_where(whole, tf.gather(known, tf.argmax(tf.pad(found, [[0, 0], [0, 1]]), 1))), rest], axis=1)

    def merge_bytes(self, words):
        """Returns the ids of words that hold no unsplittable token, ragged `(words, None)` int32."""
        words = tf.strings.regex_replace(words, NULL, "\x00")
        values = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
        ids = tf.gather(self.byte_ids, tf.cast(values, "int32"))
        rows = tf.repeat(tf.range(tf.size(words, tf.int64)), tf.strings.length(words))
        ids, rows = tf.boolean_mask(ids, ids >= 0), tf.boolean_mask(rows, ids >= 0)
        shapes = [tf.TensorShape([None])] * 3
        ids, rows, _ = tf.while_loop(
            lambda ids, rows, ranks: tf.reduce_any(ranks < NEVER),
            self.merge_once,
            (ids, rows, self.ranks(ids, rows)),
            shape_invariants=tuple(shapes),
        )
        return tf.RaggedTensor.from_value_rowids(ids, rows, tf.size(words, tf.int64))

    def merge_once(self, ids, rows, ranks):
        """Merges in each row the pair of the lowest rank, the leftmost of equals."""
        best = tf.gather(tf.math.segment_min(ranks, rows[:-1]), rows[:-1])
        places = tf.where((ranks == best) & (ranks < NEVER))
        row = tf.gather(rows, places[:, 0])
        places = tf.boolean_mask(places, tf.concat([[True], row[1:] != row[:-1]], axis=0))
        merged = tf.gather(self.merged_ids, tf.gather(ranks, places[:, 0]))
        ids = tf.tensor_scatter_nd_update(ids, places, merged)
        kept = tf.tensor_scatter_nd_update(tf.ones_like(ids, "bool"), places + 1, tf.zeros_like(merged, "bool"))
        ids, rows = tf.boolean_mask(ids, kept), tf.boolean_mask(rows, kept)
        return ids, rows, self.ranks(ids, rows)

    def ranks(self, ids, rows):
        """Returns the rank of each id and the next, `NEVER` where they lie in two rows or no rule merges them."""
        pairs = tf.cast(ids[:-1], "int64") * self.first_free_id + tf.cast(ids[1:], "int64")
        places = tf.minimum(tf.searchsorted(self.merge_keys, pairs), len(self.merge_keys) - 1)
        is_rule = (tf.gather(self.merge_keys, places) == pairs) & (rows[:-1] == rows[1:])
        return tf.where(is_rule, tf.gather(self.merge_ranks_by_key, places), NEVER)


def _where(chosen, values):
    """Returns ragged rows that hold the value where it is chosen, and are empty elsewhere."""
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(values, chosen), tf.cast(chosen, "int64"))


def _byte_symbols():
    """Returns the 256 characters by which byte-level BPE writes the bytes 0 to 255: most stand for themselves."""
    alphabet = set(ByteLevel.alphabet())
    stand_ins = iter(sorted(symbol for symbol in alphabet if ord(symbol) > 255))
    return [chr(byte) if chr(byte) in alphabet else next(stand_ins) for byte in range(256)]
