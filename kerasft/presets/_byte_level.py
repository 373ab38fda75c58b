"""Byte-level BPE with the ids of `tokenizers`, the same eagerly and in a graph."""

import re

import keras_hub
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers.pre_tokenizers import ByteLevel

SPACES = r"\t-\r\x{85}\p{Z}"
# RE2 cannot look ahead, which the expressions do to leave a run's last space to the word behind it. So a mark is put
# there first. It, and what stands in for a null, at which TF Text's splitting would end the text, are code points that
# Unicode keeps from text.
MARK, NULL = "\U0010ffff", "\U0010fffe"
NEVER = np.iinfo("int32").max  # the rank of two tokens that no rule merges
LONGEST_WORD = 512  # in bytes, as `pipeline` has it for KerasHub's own

# The expression of `Split` in the tokenizer.json of Llama 3 and SmolLM3, Qwen 2 and 3, and GPT-OSS: how it begins, and
# how each ends.
SPLITS = {
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
    ),
}
BLANKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"


def _in_re2(split):
    """Returns what a mark is put into, and the words; a line break at the end of a run belongs to the run."""
    words = split.replace(r"[^\s", f"[^{SPACES}{MARK}").replace(r"[^\r", rf"[^{MARK}\r")
    return rf"([\t\x0b\f\x{{85}}\p{{Z}}])([^{SPACES}])", rf"{words}|[{SPACES}]*[\r\n]+|[{SPACES}]+"


EXPRESSIONS = {name: _in_re2(split) for name, split in SPLITS.items()}
# `Digits`, each by itself, before GPT-2's expression.
EXPRESSIONS["smollm2"] = (
    rf"([{SPACES}])([^{SPACES}\p{{N}}])",
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+|\p{{N}}| ?[^{SPACES}\p{{L}}\p{{N}}{MARK}]+|[{SPACES}]+",
)


def rules(description):
    """Returns what a `ByteLevelTokenizer` is to do as a tokenizer.json says, or an empty dict if it cannot do that."""
    steps = description["pre_tokenizer"].get("pretokenizers", [])
    normalizer = (description.get("normalizer") or {}).get("type")
    known = [name for name in EXPRESSIONS if _is_split(name, *steps)] if len(steps) == 2 else []
    if not known or normalizer not in (None, "NFC"):
        return {}
    ignore_merges = description["model"].get("ignore_merges", False)
    return {"split": known[0], "compose": normalizer == "NFC", "ignore_merges": ignore_merges}


def _is_split(name, first, second):
    wanted = {"type": "Digits", "individual_digits": True}
    if name in SPLITS:
        pattern = {"Regex": SPLITS[name] + BLANKS}
        wanted = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    follows = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": name not in SPLITS}
    return first == wanted and follows.items() <= {"use_regex": True, **second}.items()


class ByteLevelTokenizer(keras_hub.tokenizers.BytePairTokenizer):
    """Byte-level BPE made of plain TensorFlow ops, fit for any SavedModel.

    KerasHub's own splits into words in two ways, one eagerly and one in a graph, and in no other.
    Special tokens in a string are text like any other, unless `unsplittable_tokens` names them. Bytes that the
    vocabulary lacks are left out; a word of more than 512 bytes is read byte by byte.

    Args:
        vocabulary: dict of str to int, or name of a JSON file.
        merges: list of str such as `"t h"`, or name of a file with one a line.
        split: str, how texts are split into words, a name of `EXPRESSIONS`; None for KerasHub's ways.
        compose: bool. True to put characters together first (NFC).
        ignore_merges: bool. True if a word that is in the vocabulary is one token, whatever the merges say.
        **kwargs: of the class of KerasHub's that it is put before.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    Source: `Split`, `Digits`, `ByteLevel` and `BPE` of https://github.com/huggingface/tokenizers; Sennrich et al. 2016,
        https://arxiv.org/abs/1508.07909, for the merges.
    """

    def __init__(self, *args, split=None, compose=False, ignore_merges=False, **kwargs):
        self.split = split
        self.compose = compose
        self.ignore_merges = ignore_merges
        super().__init__(*args, **kwargs)

    def set_vocabulary_and_merges(self, vocabulary, merges):
        super().set_vocabulary_and_merges(vocabulary, merges)
        if self.vocabulary is None or self.split is None:
            return
        ids = self.vocabulary
        pairs = [merge.split(" ") for merge in self.merges]
        self.merged_ids = np.array([ids[left + right] for left, right in pairs], "int32")
        self.first_free_id = max(ids.values()) + 1
        keys = np.array([ids[left] * self.first_free_id + ids[right] for left, right in pairs], "int64")
        self.merge_ranks_by_key = np.argsort(keys).astype("int32")
        self.merge_keys = keys[self.merge_ranks_by_key]
        self.byte_ids = np.array([ids.get(symbol, -1) for symbol in _byte_symbols()], "int32")

    def tokenize(self, inputs):
        if self.split is None:
            return super().tokenize(inputs)
        texts = tf.convert_to_tensor(inputs)
        valid = tf.strings.unicode_transcode(tf.reshape(texts, (-1,)), "UTF-8", "UTF-8")
        if self.compose:
            valid = tf_text.normalize_utf8(valid, "NFC")
        words = self.split_words(tf.strings.regex_replace(valid, r"\x00", NULL))
        unique, places = tf.unique(words.flat_values)
        tokens = tf.gather(self.encode_words(unique), places)
        rows = tf.RaggedTensor.from_row_splits(tokens.values, tf.gather(tokens.row_splits, words.row_splits))
        return rows if texts.shape.rank else rows[0]

    def split_words(self, texts):
        """Returns the words, digits, marks and runs of white space, ragged `(batch, None)`."""
        pieces, whole = self.cut_out_unsplittable(texts)
        before, kept = EXPRESSIONS[self.split]
        marked = tf.strings.regex_replace(tf.where(whole, "", pieces.values), before, rf"{MARK}\1\2")
        words = tf_text.regex_split(marked, f"{kept}|{MARK}", kept)
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
        """Returns the ids of each word, ragged `(words, None)` int32."""
        words = tf.strings.regex_replace(words, NULL, "\x00")
        ids = self.ids_of_whole(words)
        whole, is_long = ids >= 0, tf.strings.length(words) > LONGEST_WORD
        bytewise = self.byte_ids_of(tf.where(is_long & ~whole, words, ""))
        merged = self.merge(self.byte_ids_of(tf.where(is_long | whole, "", words)))
        return tf.concat([_where(whole, ids), bytewise, merged], axis=1)

    def ids_of_whole(self, words):
        """Returns the id of each word that is one token whatever the merges say, -1 for the others."""
        tokens = self.unsplittable_tokens
        found = tf.equal(words[:, None], tf.constant(tokens, tf.string, (1, len(tokens))))
        known = tf.constant([self.vocabulary[token] for token in tokens], tf.int32, (1, len(tokens)))
        ids = tf.reduce_max(tf.where(found, known, -1), axis=1)
        if not self.ignore_merges:
            return ids
        symbols = self.byte2unicode.lookup(tf.strings.bytes_split(words))
        return tf.maximum(ids, self.token_to_id_map.lookup(tf.strings.reduce_join(symbols, axis=1)))

    def byte_ids_of(self, words):
        """Returns the ids of the bytes of each word, ragged `(words, None)` int32."""
        values = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
        ids = tf.gather(self.byte_ids, tf.cast(values, "int32"))
        rows = tf.RaggedTensor.from_row_lengths(ids, tf.cast(tf.strings.length(words), "int64"))
        return tf.ragged.boolean_mask(rows, rows >= 0)

    def merge(self, words):
        """Returns ragged ids merged pair by pair."""
        ids, rows = words.values, words.value_rowids()
        shapes = [tf.TensorShape([None])] * 3
        ids, rows, _ = tf.while_loop(
            lambda ids, rows, ranks: tf.reduce_any(ranks < NEVER),
            self.merge_once,
            (ids, rows, self.ranks(ids, rows)),
            shape_invariants=tuple(shapes),
        )
        return tf.RaggedTensor.from_value_rowids(ids, rows, words.nrows())

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

    def get_config(self):
        own = {"split": self.split, "compose": self.compose, "ignore_merges": self.ignore_merges}
        return {**super().get_config(), **own}


def _where(chosen, values):
    """Returns ragged rows that hold the value where it is chosen, and are empty elsewhere."""
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(values, chosen), tf.cast(chosen, "int64"))


def _byte_symbols():
    """Returns the 256 characters by which byte-level BPE writes the bytes 0 to 255: most stand for themselves."""
    alphabet = set(ByteLevel.alphabet())
    stand_ins = iter(sorted(symbol for symbol in alphabet if ord(symbol) > 255))
    return [chr(byte) if chr(byte) in alphabet else next(stand_ins) for byte in range(256)]
