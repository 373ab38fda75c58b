"""Words to token ids, window by window, and where each word's answer is."""

import concurrent.futures
import dataclasses
import os
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from kerasft.pipeline import batching
from kerasft.pipeline.text import BY_POSITION, TextPreprocessor, TokenizedText, as_ragged, column

# A word is what stands between blanks; each sign is a word of its own, and each letter of scripts without blanks.
BLANK = r"[\s\p{Z}\p{Cc}]+"
ALONE = r"[\p{P}\p{S}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
PARTS = 1000  # Texts that are split at once.
OVERLAP = 4  # Windows share this part of their length: an answer comes from where there is text on both sides.
QUESTION = 64  # Tokens of one, at most.
FILLER = " ."  # What a word counts as of which the tokenizer makes nothing.


@keras.saving.register_keras_serializable("kerasft")
class WordPreprocessor(TextPreprocessor):
    """Turns the words of texts into a backbone's inputs, so that each word can be found in the outputs again.

    Each word is tokenized by itself, with the blank before it, if there is one, as some tokenizers tell that apart.
    What is longer than `sequence_length` becomes several windows, which overlap; a word's answer is that of its first
    token, in the window whose middle is nearest.

    Args: of `TextPreprocessor`.
    """

    def windows(self, words, questions=None):
        """Returns ragged `token_ids` and `segment_ids` of all windows, `(windows, None)` int32, and `Places`.

        Args:
            words: ragged `(batch, None)` strings, each with the blank before it.
            questions: `(batch,)` strings that every window of their text begins with, or None. What is longer than
                `QUESTION` tokens is cut.
        """
        ids, pieces = self._pieces(words)
        heads = self._heads(ids, questions)
        head, lengths = (tf.cast(rows.row_lengths(), "int32") for rows in (heads, ids))
        room = self.sequence_length - head - len(self.marks["end"])
        step = room - room // OVERLAP
        count = tf.maximum(-((room - lengths) // step), 0) + 1
        row = tf.repeat(tf.range(tf.size(lengths)), count)
        begin = tf.cast(tf.ragged.range(count).flat_values, "int32") * tf.gather(step, row)
        size = tf.minimum(tf.gather(lengths, row) - begin, tf.gather(room, row))
        offset = tf.gather(tf.cast(ids.row_starts(), "int32"), row) + begin
        inner = tf.gather(ids.flat_values, tf.ragged.range(offset, offset + size))
        tail = tf.concat([inner, column(self.marks["end"], inner)], axis=1)
        before = tf.gather(heads, row)
        second = tf.zeros_like(tail) if questions is None else tf.ones_like(tail)
        rows = {
            "token_ids": tf.concat([before, tail], axis=1),
            "segment_ids": tf.concat([tf.zeros_like(before), second], axis=1),
        }
        of = tf.cast(words.value_rowids(), "int32")
        room, step, head = (tf.gather(values, of) for values in (room, step, head))
        window = tf.clip_by_value((pieces[:, 0] - (room - step) // 2) // step, 0, tf.gather(count, of) - 1)
        shift = head - window * step
        last = tf.minimum(shift + pieces[:, 1], head + room - 1)
        number = tf.gather(tf.cumsum(count, exclusive=True), of) + window
        return rows, Places(
            words=tf.stack([number, shift + pieces[:, 0], last], axis=1),
            pieces=pieces,
            windows=tf.stack([row, begin, size, tf.gather(tf.cast(heads.row_lengths(), "int32"), row)], axis=1),
        )

    def _heads(self, ids, questions):
        """Returns what each text's windows begin with, ragged `(batch, None)`."""
        start, separator, end = (self.marks[name] for name in ("start", "separator", "end"))
        if questions is None:
            return column(start, ids)
        room = (self.sequence_length - len(start) - len(separator) - len(end)) // 2
        return tf.concat(
            [column(start, ids), self._ids(questions)[:, : min(QUESTION, room)], column(separator, ids)], 1
        )

    def _pieces(self, words):
        """Returns the ids of each text's tokens, ragged, and each word's first and last token, `(words, 2)` int32."""
        flat = words.flat_values
        filler = self._ids(tf.constant([FILLER])).flat_values[:1]
        ids = self._ids(flat)
        missing = tf.cast(ids.row_lengths() == 0, "int64")
        ids = tf.concat([ids, tf.RaggedTensor.from_row_lengths(tf.repeat(filler, tf.reduce_sum(missing)), missing)], 1)
        rows = words.with_values(ids).merge_dims(1, 2)
        starts = tf.gather(rows.row_starts(), words.value_rowids())
        pieces = tf.stack([ids.row_starts() - starts, ids.row_limits() - starts - 1], axis=1)
        return rows, tf.cast(pieces, "int32")

    def _ids(self, strings):
        return as_ragged(self.tokenizer(strings))


class Places(NamedTuple):
    """Where words are in windows; int32 tensors, or int64 arrays.

    Attributes:
        words: `(words, 3)`. Of each word: number of its window; position there of its first and of its last token.
        pieces: `(words, 2)`. Its first and last token among those of its text.
        windows: `(windows, 4)`. Of each window: number of its text, the first of the text's tokens in it, how many it
            has, and where they begin.
    """

    words: tf.Tensor
    pieces: tf.Tensor
    windows: tf.Tensor


@dataclasses.dataclass
class Windows(TokenizedText):
    """Windows of texts in words, a row each; targets and answers are by word.

    Attributes:
        targets: `(words,)` int32, or None.
        splits: `(texts + 1,)` int64. Words `splits[i]` to `splits[i + 1]` are those of text `i`.
        places: Places. Windows of words never fall.
    """

    splits: np.ndarray
    places: Places

    @property
    def target_signature(self):
        """The `tf.TensorSpec`s of what `gather_targets` returns."""
        return () if self.targets is None else BY_POSITION

    def gather_targets(self, rows, width=None):
        """Returns the targets of all positions, `(len(rows), width)` int32, and their weights, 1 where a word is."""
        if self.targets is None:
            return ()
        windows, firsts, _ = self.places.words.T
        begins, ends = (np.searchsorted(windows, rows, side) for side in ("left", "right"))
        words = np.concatenate([np.arange(*pair) for pair in zip(begins, ends, strict=True)])
        at = np.repeat(np.arange(len(rows)), ends - begins), firsts[words]
        targets, weights = np.zeros((len(rows), width), "int32"), np.zeros((len(rows), width), "float32")
        targets[at], weights[at] = self.targets[words], 1
        return targets, weights

    def rows_of(self, numbers):
        """Returns the numbers of the texts that these windows are of."""
        return self.places.windows[numbers, 0]

    def restored(self, made, batches):
        """Returns the outputs of each text's words, ragged `(texts, None, units)`.

        Args:
            made: `(positions, units)`. What the model made of all positions of these batches.
            batches: list of arrays of window numbers.
        """
        return tf.RaggedTensor.from_row_splits(self.of_words(made, self.beginnings(batches)), self.splits)

    def of_words(self, made, begins):
        """Returns `(words, units)` for outputs of all positions; each window's begin at a place of `begins`."""
        windows, firsts, _ = self.places.words.T
        return made[begins[windows] + firsts]

    def beginnings(self, batches):
        """Returns where the positions of each window begin, if all positions of these batches stand in a row."""
        widths = batching.choose_widths(self)
        wide = [batching.width(self.lengths[batch], widths) for batch in batches]
        order, sizes = np.concatenate(batches), np.repeat(wide, [len(batch) for batch in batches])
        begins = np.empty(len(self), int)
        begins[order] = np.cumsum(sizes) - sizes
        return begins


def tokenize(preprocessor, texts, questions=None, kind=Windows, batch_size=256):
    """Tokenises texts in words, in parallel, with the ops of the exported graph.

    Args:
        preprocessor: WordPreprocessor.
        texts: sequence of lists of strings, a word each, with the blank before it.
        questions: list of str, one for each text, or None.
        kind: Windows, or a subclass of it to return.

    Returns: Windows, without targets.
    """
    specs = [tf.RaggedTensorSpec((None, None), tf.string, ragged_rank=1)]
    specs += [] if questions is None else [tf.TensorSpec((None,), tf.string)]
    compute = tf.function(lambda *given: preprocessor.windows(*given), input_signature=specs, autograph=False)
    compute.get_concrete_function()

    def part(begin):
        given = [ragged(texts[begin : begin + batch_size])]
        given += [] if questions is None else [tf.constant(questions[begin : begin + batch_size])]
        return compute(*given)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # TensorFlow runs them side by side.
        made = list(pool.map(part, range(0, len(texts), batch_size)))
    rows, places, done = [rows for rows, _ in made], [], 0
    for number, (_, found) in enumerate(made):
        words, pieces, windows = (np.asarray(array, "int64") for array in found)
        places.append((words + [done, 0, 0], pieces, windows + [number * batch_size, 0, 0, 0]))
        done += len(windows)
    lengths = np.concatenate([batch["token_ids"].row_lengths().numpy() for batch in rows])
    return kind(
        token_ids=np.concatenate([batch["token_ids"].flat_values.numpy() for batch in rows]),
        segment_ids=np.concatenate([batch["segment_ids"].flat_values.numpy().astype("int8") for batch in rows]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        targets=None,
        preprocessor=preprocessor,
        splits=np.concatenate([[0], np.cumsum([len(words) for words in texts])]).astype("int64"),
        places=Places(*map(np.concatenate, zip(*places, strict=True))),
    )


def ragged(rows, dtype=None):
    """Returns lists as a ragged `(len(rows), None)` tensor."""
    flat = np.array([item for row in rows for item in row], dtype=dtype or object)
    lengths = np.array([len(row) for row in rows], "int64")
    return tf.RaggedTensor.from_row_lengths(tf.constant(flat, dtype or tf.string), lengths)


def split(texts):
    """Returns the words of texts, ragged `(batch, None)` strings, and where each begins and ends, in characters.

    A word has a blank in front unless it follows the one before without any, as a comma does.

    Args:
        texts: `(batch,)` strings, a tensor.
    """
    words, starts, ends = tf_text.regex_split_with_offsets(texts, f"{BLANK}|{ALONE}", ALONE)
    _, offsets = tf.strings.unicode_decode_with_offsets(texts, "UTF-8")
    sizes = tf.cast(tf.strings.length(texts), "int64") + 1  # One more, so that the end of a text lies in it.
    bases = tf.cumsum(sizes, exclusive=True)
    letters = offsets.flat_values + tf.gather(bases, offsets.value_rowids())
    rows = words.value_rowids()
    is_first = tf.not_equal(rows, tf.concat([[-1], rows[:-1]], 0))
    is_apart = is_first | tf.not_equal(starts.flat_values, tf.concat([[-1], ends.flat_values[:-1]], 0))
    words = words.with_values(tf.strings.join([tf.where(is_apart, " ", ""), words.flat_values]))
    in_characters = [
        words.with_values(
            tf.searchsorted(letters, at.flat_values + tf.gather(bases, rows), out_type=tf.int64)
            - tf.gather(offsets.row_starts(), rows)
        )
        for at in (starts, ends)
    ]
    return words, *in_characters


def cut(texts, rows, starts, ends):
    """Returns parts of texts, `(parts,)` strings.

    Args:
        texts: `(batch,)` strings. rows: `(parts,)` int64, the number of each part's text.
        starts, ends: `(parts,)` int64, in characters.
    """
    letters = tf.strings.unicode_decode(texts, "UTF-8")
    begins = tf.gather(letters.row_starts(), rows)
    chosen = tf.ragged.range(begins + starts, begins + ends)
    return tf.strings.unicode_encode(tf.gather(letters.flat_values, chosen), "UTF-8")


def in_words(texts):
    """Returns the words of many texts, their starts and their ends, see `split`, as three lists of lists."""
    made = ([], [], [])
    for begin in range(0, len(texts), PARTS):
        words, starts, ends = split(tf.constant(texts[begin : begin + PARTS]))
        made[0].extend([word.decode() for word in row] for row in words.to_list())
        made[1].extend(starts.to_list())
        made[2].extend(ends.to_list())
    return made


def touched(start, end, starts, ends):
    """Returns the number of the first word that a span of characters touches, and of the one after the last."""
    return int(np.searchsorted(ends, start, "right")), int(np.searchsorted(starts, end, "left"))
