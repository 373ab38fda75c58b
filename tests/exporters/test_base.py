import os

import pytest

from kerasft.errors import UserError
from kerasft.exporters.base import model_name, new_folder, version_folder


def test_the_folder_appears_at_the_end_with_its_parent(tmp_path):
    path = tmp_path / "models" / "reviews" / "7"
    with version_folder(str(path)) as folder:
        os.makedirs(folder)
        beside = os.listdir(path.parent)
        assert not path.exists() and not any(name.isdigit() for name in beside)
    assert path.is_dir() and os.listdir(path.parent) == ["7"]
    # As open as any new folder: a server runs as another user.
    assert path.stat().st_mode == path.parent.stat().st_mode


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="no"), version_folder(str(tmp_path / "1")) as folder:
        os.makedirs(folder)
        raise RuntimeError("no")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["reviews", "v1", "1.0", "-1", "1a", "٣", "1" * 19])
def test_a_version_is_a_number(tmp_path, name):
    path = str(tmp_path / name)
    with pytest.raises(UserError, match=r"must be a version number: TensorFlow Serving .* Received: path=") as raised:
        with version_folder(path):
            pass
    assert repr(os.path.join(path, "1")) in str(raised.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", ["", os.sep, os.sep + "."])
def test_nothing_is_overwritten(tmp_path, ending):
    (tmp_path / "1").mkdir()
    with pytest.raises(UserError, match="something already; give the next number. Received: path="):
        with version_folder(str(tmp_path / "1") + ending):
            pass


@pytest.mark.parametrize("folder", [version_folder, new_folder])
def test_a_file_in_the_way_is_named(tmp_path, folder):
    (tmp_path / "reviews").write_text("")
    with pytest.raises(UserError, match="Cannot write there: .* Received: path="):
        with folder(str(tmp_path / "reviews" / "1")):
            pass


def test_model_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert model_name("saved_models/reviews/1") == "reviews"
    assert model_name("saved_models/reviews/export/12/") == "reviews"
    assert model_name("1") == tmp_path.name
    assert model_name("/export/1") == "export"
