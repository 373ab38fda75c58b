from pathlib import Path

import keras_hub

from kerasft.presets import _tables


def test_reads_what_kerashub_lists():
    # SegFormer's presets are listed with its task alone.
    listed = {**keras_hub.models.Task.presets, **keras_hub.models.Backbone.presets}
    rows = _tables.rows("keras_hub", "src/models")
    assert set(rows) == {name for name, preset in listed.items() if "kaggle_handle" in preset}
    for name, row in rows.items():
        assert row.parameters == listed[name]["metadata"]["params"]
        assert f"kaggle://{row.handle}" == listed[name]["kaggle_handle"]


def test_a_package_that_is_not_installed_has_none():
    assert _tables.rows("no_such_package", "src/models") == {}


def test_reads_only_what_is_written_out(tmp_path, monkeypatch):
    package = tmp_path / "tiny_hub"
    (package / "models" / "bert").mkdir(parents=True)
    (package / "models" / "bert" / "bert_presets.py").write_text(
        "first = {'a': {'metadata': {'params': 3}, 'kaggle_handle': 'kaggle://o/m/keras/a/2'}}\n"
        "both = {**first, 'b': {'metadata': {}, 'kaggle_handle': 'kaggle://o/m/keras/b'}}\n"
        "other = {'c': {'metadata': {'params': 4}}}\n"
        "raise RuntimeError('not run')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows = _tables.rows("tiny_hub", "models")
    folder = Path(package / "models" / "bert")
    assert rows == {"a": _tables.Row(3, "o/m/keras/a/2", folder), "b": _tables.Row(None, "o/m/keras/b", folder)}


def test_is_here_once_kagglehub_has_marked_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    versioned = _tables.Row(1, "o/m/keras/a/2", tmp_path)
    newest = _tables.Row(1, "o/m/keras/a", tmp_path)

    def are_here():
        return [_tables.entry("a", "image", row).is_here for row in (versioned, newest)]

    weights = tmp_path / "models/o/m/keras/a/1/model.weights.h5"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"half")
    assert are_here() == [False, False]
    mark = tmp_path / "models/o/m/keras/a/.complete/1/model.weights.h5.complete"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert are_here() == [False, True]
    mark.parent.rename(mark.parent.parent / "2")
    assert are_here() == [True, True]
