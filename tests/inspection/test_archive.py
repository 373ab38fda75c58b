import re
import zipfile

import pytest

from kerasft.errors import UserError
from kerasft.inspection import archive

ENTRIES = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"x" * 1000}


def written(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def test_what_keras_writes_is_read(tmp_path):
    assets = {"assets/": b"", "assets/layers/größe_1/vocabulary.txt": b"a", "assets/_a-b.c/merges.json": b"a"}
    path = written(tmp_path / "a.keras", ENTRIES | assets)
    archive.check(path)
    assert archive.read(path, archive.WEIGHTS) == ENTRIES["model.weights.h5"]


@pytest.mark.parametrize("name", ["../a.txt", "assets/..\\a.txt", "assets/%2e%2e/a.txt", "assets/a.txt.", "setup.py"])
def test_the_name_that_is_wrong_is_told(tmp_path, name):
    path = written(tmp_path / "a.keras", {**ENTRIES, name: b"a"})
    shown = re.escape(name.encode("unicode_escape").decode())
    with pytest.raises(UserError, match=rf"a.keras: an entry must be metadata.json, .*Received: {shown}$"):
        archive.check(path)


def test_a_bomb_is_told_with_both_sizes(tmp_path):
    path = written(tmp_path / "a.keras", {**ENTRIES, "assets/a.txt": bytes(65 * 2**20)})
    with pytest.raises(
        UserError, match=r"a file of [\d,]+ bytes declares too much content. Received: 68,1\d\d,\d+ bytes"
    ):
        archive.check(path)


def test_an_entry_that_does_not_fit_its_checksum_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        for name, content in ENTRIES.items():
            file.writestr(name, content)
    content = (tmp_path / "a.keras").read_bytes()
    (tmp_path / "a.keras").write_bytes(content.replace(b"x" * 1000, b"y" * 1000))
    archive.check(tmp_path / "a.keras")
    with pytest.raises(UserError, match="not a whole .keras archive. Received: Bad CRC-32"):
        archive.read(tmp_path / "a.keras", archive.WEIGHTS)
