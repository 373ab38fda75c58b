import json
import os
import subprocess
import sys

import keras_hub
import numpy as np
import pytest

import kerasft
from kerasft import cache
from kerasft.pipeline import _kept, text
from kerasft.tasks._text import marks
from tests import families

TEXTS = ["a very good film", "the plot is bad .", "funny"] * 4


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_kept, "LEAST", 100)
    return tmp_path / "home"


def preprocessor(tiny, **arguments):
    settings = {"marks": marks(tiny), "sequence_length": 16, "inputs": sorted(tiny.backbone.input)} | arguments
    return text.TextPreprocessor(tiny.converter, **settings)


def made_anew(preprocessor):
    return _kept._finished(_kept._joined(lambda: text._tokenized(preprocessor, [TEXTS], 256)))


def files():
    return sorted(path.name for path in (cache.folder() / "tokens").glob("*"))


def assert_equal(one, other):
    for name in ("token_ids", "segment_ids", "offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_the_second_time_they_are_read(make_tiny, monkeypatch):
    tiny = make_tiny("bert")
    plain = made_anew(preprocessor(tiny))
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
        text.TokenizedText(**made_anew(ours), targets=None, preprocessor=ours),
    )
    assert len(before) == len(TEXTS)


def test_a_cache_that_cannot_be_written_is_none(make_tiny, home):
    home.mkdir()
    (home / "tokens").write_text("a file in the place of the folder")
    made = text.tokenize(preprocessor(make_tiny("bert")), [TEXTS])
    assert len(made) == len(TEXTS)
    assert not isinstance(made.token_ids, np.memmap)


@pytest.mark.parametrize(("task", "family"), [("masked_lm", "bert"), ("causal_lm", "smollm3")])
def test_so_do_those_of_language_tasks(tmp_path, monkeypatch, task, family):
    (tmp_path / "corpus.txt").write_text("\n\n".join(["the film was good and so was the plot . " * 9, *TEXTS]))
    room = {"max_new_tokens": 4} if task == "causal_lm" else {}
    tuner = kerasft.FineTuner(task, families.make(family), sequence_length=64, **room)
    frame, _ = tuner.frames(tmp_path / "corpus.txt")
    monkeypatch.setattr(text, "PARTS", 5)
    made, again = (tuner.task.examples(frame, tuner.preprocessor) for _ in range(2))
    monkeypatch.setattr(_kept, "LEAST", 10_000)
    plain = tuner.task.examples(frame, tuner.preprocessor)
    assert isinstance(made.token_ids, np.memmap) and not isinstance(plain.token_ids, np.memmap)
    assert made.texts.tolist() == sorted(made.texts) and set(made.texts) == set(range(len(frame)))
    for one in (made, again):
        for name, expected in vars(plain).items():
            if isinstance(expected, np.ndarray):
                np.testing.assert_array_equal(getattr(one, name), expected)
                assert getattr(one, name).dtype == expected.dtype, name


LARGE = """
import resource, sys
import kerasft
from kerasft.data import _in_file
from tests import families

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

_in_file.LEAST = 0
tuner = kerasft.FineTuner(sys.argv[1], families.make(sys.argv[2]))
sizes = []
for path in sys.argv[3:]:
    train, validation = tuner.frames(path, validation_split=0.1)
    sizes.append((len(tuner.task.examples(train, tuner.preprocessor)), peak()))
print(sizes[0][1], *sizes[1])
"""
TEXT = "the film was good and so was the plot . " * 20
SOURCES = {
    "txt": lambda n: f"{n} {TEXT}\n\n",
    "csv": lambda n: f"{'text,label' if not n else ''}\n{n} {TEXT},{'ab'[n % 2]}",
    "jsonl": lambda n: json.dumps({"prompt": f"{n} film", "completion": TEXT}) + "\n",
}


@pytest.mark.parametrize(
    ("ending", "task", "family", "parts"),
    [
        ("txt", "masked_lm", "bert", 4),
        ("csv", "text_classification", "bert", 1),
        pytest.param("jsonl", "causal_lm", "llama", 1, marks=pytest.mark.slow),
    ],
)
def test_a_large_file_takes_little_memory(tmp_path, ending, task, family, parts):
    """In a process of its own: what a process held before would hide what the file takes."""
    for name, rows in (("small", 100), ("large", 50_000)):
        with open(tmp_path / f"{name}.{ending}", "w") as file:
            file.writelines(map(SOURCES[ending], range(rows)))
    files = [str(tmp_path / f"{name}.{ending}") for name in ("small", "large")]
    done = subprocess.run([sys.executable, "-c", LARGE, task, family, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, rows, after = map(int, done.stdout.split())
    assert rows == parts * 45_000
    assert after - before < 70e6  # The file has 40 MB; as texts and lists of ids they would be 400 MB.


def test_fit_from_kept_tokens_ends_in_the_same_weights(make_tiny, reviews, tmp_path):
    def scores(folder):
        tuner = kerasft.FineTuner("text_classification", make_tiny("bert"), precision="float32")
        tuner.fit(reviews, epochs=1, batch_size=4, directory=tmp_path / folder)
        return tuner.predict([row["text"] for row in reviews])["scores"]

    first = scores("first")
    assert os.listdir(cache.folder() / "tokens")
    np.testing.assert_array_equal(scores("second"), first)
