import os

import keras_hub
import numpy as np
import pytest

import kerasft
from kerasft import cache
from kerasft.pipeline import _kept, text
from kerasft.tasks._text import marks

TEXTS = ["a very good film", "the plot is bad .", "funny"] * 4


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_kept, "LEAST", 100)
    return tmp_path / "home"


def preprocessor(tiny, **arguments):
    settings = {"marks": marks(tiny), "sequence_length": 16, "inputs": sorted(tiny.backbone.input)} | arguments
    return text.TextPreprocessor(tiny.converter, **settings)


def files():
    return sorted(path.name for path in (cache.folder() / "tokens").glob("*"))


def assert_equal(one, other):
    for name in ("token_ids", "segment_ids", "offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_the_second_time_they_are_read(make_tiny, monkeypatch):
    tiny = make_tiny("bert")
    plain = text._tokenized(preprocessor(tiny), [TEXTS], 256)
    first = text.tokenize(preprocessor(tiny), [TEXTS])
    monkeypatch.setattr(text, "_tokenized", lambda *_: pytest.fail("tokenized again"))
    again = text.tokenize(preprocessor(make_tiny("bert")), [TEXTS])
    assert_equal(first, again)
    for name, array in plain.items():
        np.testing.assert_array_equal(getattr(again, name), array)
    assert isinstance(again.token_ids, np.memmap)
    assert len(files()) == 3


def test_small_tables_are_not_kept(make_tiny, monkeypatch):
    monkeypatch.setattr(_kept, "LEAST", 10_000)
    text.tokenize(preprocessor(make_tiny("bert")), [TEXTS])
    assert files() == []


def test_what_tokens_depend_on_has_tokens_of_its_own(make_tiny):
    tiny = make_tiny("bert")
    made = [
        text.tokenize(preprocessor(tiny), [TEXTS]),
        text.tokenize(preprocessor(tiny, sequence_length=8), [TEXTS]),
        text.tokenize(preprocessor(tiny), [TEXTS[::-1]]),
        text.tokenize(preprocessor(tiny), [TEXTS, TEXTS]),
        text.tokenize(preprocessor(tiny, marks={"start": [], "separator": [], "end": []}), [TEXTS]),
    ]
    cased = keras_hub.tokenizers.BertTokenizer(vocabulary=tiny.converter.get_vocabulary(), lowercase=False)
    made.append(text.tokenize(text.TextPreprocessor(cased, marks(tiny), 16, sorted(tiny.backbone.input)), [TEXTS]))
    fewer = keras_hub.tokenizers.BertTokenizer(vocabulary=tiny.converter.get_vocabulary()[:-9], lowercase=True)
    made.append(text.tokenize(text.TextPreprocessor(fewer, marks(tiny), 16, sorted(tiny.backbone.input)), [TEXTS]))
    assert len(files()) == 3 * len(made)


def test_where_one_text_ends_matters(make_tiny):
    ours = preprocessor(make_tiny("bert"))
    one = text.tokenize(ours, [["a" * 60, "b" * 60]])
    other = text.tokenize(ours, [["a" * 60 + "b", "b" * 59]])
    assert len(files()) == 6
    assert len(one) == len(other) == 2


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_broken_ones_are_made_anew(make_tiny, harm):
    ours = preprocessor(make_tiny("bert"))
    before = text.tokenize(ours, [TEXTS])
    path = next((cache.folder() / "tokens").glob("*token_ids.npy"))
    path.unlink()
    if harm == "cut":
        np.save(path, np.zeros(3, "int32"))
    assert_equal(
        text.tokenize(ours, [TEXTS]),
        text.TokenizedText(**text._tokenized(ours, [TEXTS], 256), targets=None, preprocessor=ours),
    )
    assert len(before) == len(TEXTS)


def test_a_cache_that_cannot_be_written_is_none(make_tiny, home):
    home.mkdir()
    (home / "tokens").write_text("a file in the place of the folder")
    made = text.tokenize(preprocessor(make_tiny("bert")), [TEXTS])
    assert len(made) == len(TEXTS)
    assert not isinstance(made.token_ids, np.memmap)


def test_fit_from_kept_tokens_ends_in_the_same_weights(make_tiny, reviews, tmp_path):
    def scores(folder):
        tuner = kerasft.FineTuner("text_classification", make_tiny("bert"), precision="float32")
        tuner.fit(reviews, epochs=1, batch_size=4, directory=tmp_path / folder)
        return tuner.predict([row["text"] for row in reviews])["scores"]

    first = scores("first")
    assert os.listdir(cache.folder() / "tokens")
    np.testing.assert_array_equal(scores("second"), first)
