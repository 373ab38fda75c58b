import os

import pytest

from kerasft.data.base import load
from kerasft.data.image_folder import read
from kerasft.errors import UserError
from kerasft.pipeline.clean import DataWarning


@pytest.fixture
def pets(tmp_path, png_images):
    root = tmp_path / "pets"
    for index, name in enumerate(["dog/b.png", "dog/a.JPG", "cat/c.jpeg", "cat/d.bmp", "cat/e.gif"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png_images[0][index])
    return root


def test_labels_are_the_folders_in_order(pets):
    frame = load(pets)
    assert frame.attrs == {"origin": "pets"} and frame.index.tolist() == [1, 2, 3, 4, 5]
    assert frame["label"].tolist() == ["cat", "cat", "cat", "dog", "dog"]
    names = ["cat/c.jpeg", "cat/d.bmp", "cat/e.gif", "dog/a.JPG", "dog/b.png"]
    assert frame["image"].tolist() == [str(pets / name) for name in names]


def test_links_that_form_a_loop_do_no_harm(pets):
    os.symlink(pets, pets / "cat" / "loop")
    os.symlink(pets, pets / "again")
    os.symlink("self", pets / "self")
    os.symlink("x.png", pets / "cat" / "x.png")
    with pytest.warns(DataWarning, match="again holds no image"):
        frame = load(pets)
    assert sorted(set(frame["label"])) == ["cat", "dog"]
    assert [path for path in frame["image"] if path.endswith("x.png")] == [str(pets / "cat" / "x.png")]
    assert len(frame) == 6


def test_what_is_not_read_is_named_but_hidden_files_are_not(pets):
    (pets / "cat" / "notes.txt").touch()
    (pets / "cat" / ".DS_Store").touch()
    (pets / ".git").mkdir()
    (pets / "bird").mkdir()
    (pets / "loose.jpg").touch()
    with pytest.warns(DataWarning) as warned:
        assert len(load(pets)) == 5
    message = str(warned[0].message)
    assert "pets: not read" in message and "loose.jpg" in message
    assert "bird holds no image" in message and "cat/notes.txt is not an image" in message
    assert ".DS_Store" not in message and ".git" not in message


def test_folder_named_like_an_image_is_listed_for_the_check(pets):
    (pets / "cat" / "z.jpg").mkdir()
    assert str(pets / "cat" / "z.jpg") in load(pets)["image"].tolist()


@pytest.mark.parametrize("name", ["pets/cat", "pets/dog/b.png"])
def test_other_folders_are_refused(pets, name):
    with pytest.raises(UserError, match=r"folder for each label.*<label>/<image>\.jpg.*Received: '"):
        read(pets.parent / name)
