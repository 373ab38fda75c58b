"""Whatever is typed gives the same ids in `fit`, in `predict` and in the exported SavedModel, in bounded time."""

import functools
import json
import time
import unicodedata

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tokenizers

from kerasft.data.base import as_examples
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import _byte_pairs, text
from kerasft.presets._bert import ExactBertTokenizer
from kerasft.presets.base import Pretrained
from kerasft.tasks._text import marks
from kerasft.tasks.text_classification import TextClassification
from tests import families

LENGTH = 48
SPECIAL = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[cls] [sep]", "a[SEP]b", "[ SEP ]", "[SEP][SEP]"),
    *("<|endoftext|>", "a<|endoftext|>b", "<s>", "</s>", "<pad>", "<mask>", "<unk>", "<bos>", "<eos>", "<|im_end|>"),
    *("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>system<|end_header_id|>", "<think>", "ĴA", "ĴA ĴB"),
)
TEXTS = (
    *SPECIAL,
    *("a", ".", "?!", "007", "NA", "null", "-1", "=1+1", "a  b", " a ", "\ta", "a\n", "a\nb", "a\r\nb", "a\rb"),
    *("\ufeffa", "a\ufeff", "a\u200bb", "a\u00a0b", "a\u2028b", "a\u3000b", "\u200e", "\u00ad"),
    *("\x01a", "a\x7f", "a\x85b"),
    *(unicodedata.normalize(form, "Ünïcödé ﬁ Å ½ ① が ㍿") for form in ("NFC", "NFD", "NFKC", "NFKD")),
    *("e\u0301", "é", "İ", "ß", "ΑΣ", "ǅ", "ﬀ", "ffi", "A\u030a"),
    *("שלום עולם", "مرحبا بالعالم", "\u202eabc\u202c", "abc שלום 123"),
    *("🙂", "👩‍👩‍👧‍👦", "👍🏽", "🇫🇷🇩🇪", "☺️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
    *("a\u0300\u0301\u0302\u0303", "\U0010ffff", "\ue000", "\ufffd", "\ufdd0"),
    *("北京欢迎你。", "東京", "ﾃｽﾄ", "안녕하세요", "नमस्ते", "ไทยแลนด์", "६", "a६b", "५६ ६"),
    *("##s", "##", "▁a", "Ġa", "the", " the", "i'll don't", "C:\\temp", '"quoted"'),
    *("<b>html</b>", "{{x}}", "%s %d", "\\N{DOT}"),
    *("x" * 99, "x" * 101, "x" * 600, "é" * 300, "北" * 200, "!" * 600, "9" * 600, " " * 600 + "a", "a film " * 100),
)  # fmt: skip
FAMILIES = ("exact_bert", "gpt2")
SLOW_FAMILIES = ("bert", "albert", "roberta", "gemma", "llama3", "xlm_roberta")


def random_texts(count, seed=0):
    """Returns strings of code points of all planes, of every length up to 60, that `clean.text_problems` lets pass."""
    random = np.random.default_rng(seed)
    limits = np.array([0x80, 0x250, 0x3000, 0x10000, 0x110000])
    texts = []
    while len(texts) < count:
        points = random.integers(1, limits[random.integers(len(limits))], random.integers(1, 60))
        made = "".join(map(chr, points[(points < 0xD800) | (points > 0xDFFF)]))
        texts += [made] if made.strip() else []
    return texts


@functools.cache
def pretrained_of(family):
    if family != "exact_bert":
        return families.make(family)
    made = families.make("bert")
    return Pretrained("exact_bert", made.backbone, "text", ExactBertTokenizer(made.converter.vocabulary))


@functools.cache  # Tracing takes seconds.
def preprocessor_of(family, inputs=("padding_mask", "token_ids")):
    pretrained = pretrained_of(family)
    return text.TextPreprocessor(pretrained.converter, marks(pretrained), LENGTH, inputs)


class Ids(TextClassification):
    """Answers with what the backbone is given."""

    def decode(self, outputs):
        return {"ids": tf.cast(outputs, "int32")}


@pytest.fixture(scope="module")
def ids_of(tmp_path_factory):
    """A function of a family that returns three of texts to ids: as `fit`, as `predict` and as a server has them."""

    @functools.cache
    def make(family):
        tuner = FineTuner(Ids(labels=["a", "b"]), pretrained_of(family))
        # Without a mask all batches are of one width, and the model's output is an array.
        tuner.__dict__["preprocessor"] = preprocessor_of(family, ("token_ids",))
        given = keras.Input((LENGTH,), dtype="int32")
        tuner.__dict__["model"] = keras.Model({"token_ids": given}, keras.ops.cast(given, "float32"))
        path = tuner.export(str(tmp_path_factory.mktemp(family) / "1"))
        served = tf.saved_model.load(path).signatures["serving_default"]

        def fitted(texts):
            rows = pd.DataFrame({"text": texts, "label": ["a", "b"] * (len(texts) // 2) + ["a"] * (len(texts) % 2)})
            examples = tuner.task.examples(tuner.task.prepare(as_examples(rows, "texts")), tuner.preprocessor)
            return examples.gather(np.arange(len(texts)), LENGTH)["token_ids"]

        def predicted(texts):
            return tuner.predict(list(texts))["ids"]

        def answered(texts):
            parts = [list(texts[start : start + 500]) for start in range(0, len(texts), 500)]
            return np.concatenate([served(text=tf.constant(part))["ids"].numpy() for part in parts])

        return fitted, predicted, answered

    return make


@pytest.mark.parametrize(
    ("family", "count"),
    [
        *((family, 300) for family in FAMILIES),
        *(pytest.param(family, 10_000, marks=pytest.mark.slow) for family in (*FAMILIES, *SLOW_FAMILIES)),
    ],
)
def test_ids_are_the_same_wherever_they_are_made(ids_of, family, count):
    texts = [*TEXTS, *random_texts(count)]
    fitted, predicted, answered = (ids(texts) for ids in ids_of(family))
    for other in (predicted, answered):
        different = np.flatnonzero((fitted != other).any(axis=1))
        assert not len(different), [(texts[row], fitted[row], other[row]) for row in different[:3]]
    assert len(np.unique(fitted, axis=0)) > 10  # Tiny SentencePiece models know few pieces.


def typed_ids(family, texts):
    """Returns the ids of each text without the marks around it."""
    preprocessor = preprocessor_of(family)
    start, end = (len(preprocessor.marks[name]) for name in ("start", "end"))
    rows = preprocessor.rows(np.array(texts, dtype=object))["token_ids"].to_list()
    return [row[start : len(row) - end] for row in rows]


@pytest.mark.parametrize(
    "family", [*FAMILIES, *(pytest.param(family, marks=pytest.mark.slow) for family in SLOW_FAMILIES)]
)
def test_special_tokens_that_a_user_types_are_text(family):
    tokenizer = pretrained_of(family).converter
    special = {token: tokenizer.token_to_id(token) for token in tokenizer.special_tokens}
    unknown = getattr(tokenizer, "unk_token_id", None)  # Which a SentencePiece tokenizer without bytes gives for "<".
    unknown = special.get("[UNK]", special.get("<unk>")) if unknown is None else unknown
    for typed, ids in zip(SPECIAL, typed_ids(family, list(SPECIAL)), strict=True):
        assert not (set(special.values()) - {unknown}) & set(ids), (typed, ids)


def test_bert_reads_them_as_hugging_face_does_when_told_to():
    """By default Hugging Face makes the special token of a typed "[SEP]"."""
    vocabulary = {token: number for number, token in enumerate(pretrained_of("exact_bert").converter.vocabulary)}
    theirs = tokenizers.BertWordPieceTokenizer(vocabulary)
    assert vocabulary["[SEP]"] in theirs.encode("a[SEP]b", add_special_tokens=False).ids
    theirs._tokenizer.encode_special_tokens = True
    texts = [typed for typed in TEXTS if len(typed) < LENGTH]
    expected = [theirs.encode(typed, add_special_tokens=False).ids[: LENGTH - 2] for typed in texts]
    assert typed_ids("exact_bert", texts) == expected


def test_gpt2_reads_them_as_hugging_face_does_when_told_to(tmp_path):
    vocabulary, merges = families.byte_pairs("<|endoftext|>")
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("\n".join(merges))
    theirs = tokenizers.ByteLevelBPETokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    theirs.add_special_tokens(["<|endoftext|>"])
    assert vocabulary["<|endoftext|>"] in theirs.encode("a<|endoftext|>b").ids
    theirs._tokenizer.encode_special_tokens = True
    expected = [theirs.encode(typed).ids[: LENGTH - 2] for typed in SPECIAL]
    assert typed_ids("gpt2", list(SPECIAL)) == expected


def test_a_long_word_is_read_byte_by_byte():
    vocabulary, _ = families.byte_pairs("<|endoftext|>")
    short, long = "th" * (_byte_pairs.LONGEST_WORD // 2), "th" * (_byte_pairs.LONGEST_WORD // 2) + "t"
    merged, bytes_ = typed_ids("gpt2", [short, long])
    assert merged == [vocabulary["th"]] * (LENGTH - 2)
    assert bytes_ == [vocabulary["t"], vocabulary["h"]] * (LENGTH // 2 - 1)


LONG = ("x" * 1_000_000, "a film " * 143_000, "北" * 333_000, "! " * 500_000, "👩‍👩‍👧‍👦" * 40_000)


@pytest.mark.parametrize(
    ("family", "typed"),
    [
        *((family, LONG[0]) for family in FAMILIES),
        *(pytest.param(family, typed, marks=pytest.mark.slow) for family in FAMILIES for typed in LONG[1:]),
        *(pytest.param(family, typed, marks=pytest.mark.slow) for family in SLOW_FAMILIES for typed in LONG),
    ],
)
def test_a_million_characters_take_seconds(family, typed):
    preprocessor = preprocessor_of(family)
    preprocessor.traced(1)
    begin = time.perf_counter()
    ids = preprocessor.rows(np.array(["a film", typed], dtype=object))["token_ids"]
    assert 0 < ids.row_lengths().numpy()[1] <= LENGTH
    assert time.perf_counter() - begin < 30
