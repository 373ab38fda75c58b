"""Every recipe in the repository is one that `kerasft fit` or `kerasft search` takes."""

from pathlib import Path

import pytest

from kerasft import FineTuner, recipe
from kerasft.cli import smoke
from kerasft.presets import starter

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
CONFIGS = sorted((ROOT / "tuner_configs").rglob("*.yaml"))


def named(path):
    return path.relative_to(ROOT).as_posix()


def test_there_are_some():
    assert len(EXAMPLES) >= 6
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("path", EXAMPLES + CONFIGS, ids=named)
def test_a_recipe_is_right_and_says_how_it_is_run(path):
    made = recipe.read(path)
    recipe.check(made, (FineTuner, FineTuner.fit), named(path))
    assert bool(recipe.ranges(made)) == (path in CONFIGS)
    source, _, name = made["backbone"].partition(":")
    assert source == "starter"
    assert name in starter.STARTERS
    method = made.get("method", "few_shot")
    assert path.stem == f"{made['task']}_{method['name'] if isinstance(method, dict) else method}"
    top = path.read_text(encoding="utf-8").split("\ntask:")[0]
    assert all(line.startswith("#") for line in top.splitlines())
    assert f"kerasft {'search' if path in CONFIGS else 'fit'} {named(path)}" in top
    if isinstance(made["data"], dict):
        assert "\n# data: " in top
        assert made["data"]["name"] in top or "Fashion-MNIST" in top


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_a_recipe_can_be_shrunk(path, monkeypatch, reviews, png_images):
    files, labels = png_images
    images = [{"image": file, "label": label} for file, label in zip(files, labels, strict=True)] * 30
    rows = (
        images
        if "image" in path.stem
        else [{**row, "text": f"{row['text']} {n}"} for n in range(20) for row in reviews]
    )
    made = smoke.shrunk(recipe.read(path, []) | {"data": rows})
    recipe.check(made | {"data": "in memory"}, (FineTuner, FineTuner.fit))
    assert (len(made["data"]), made["validation_split"], made["epochs"]) == (128, 0.5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["reviews", "fashion"])
def test_examples_run(script, tmp_path, monkeypatch, tiny_bert, tiny_efficientnet, reviews, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    main = __import__(script).main
    if script == "reviews":
        main(tiny_bert, reviews, reviews, epochs=1)
        assert "exported to saved_models/reviews/export/1" in capsys.readouterr().out
        return
    import numpy as np

    random = np.random.default_rng(0)
    for split in ("train", "t10k"):
        images = random.integers(0, 256, (40, 28, 28), "uint8")
        header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes()
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        numbers = np.arange(40, dtype="uint8") % 10
        header = bytes([0, 0, 8, 1]) + np.array(numbers.shape, ">u4").tobytes()
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(header + numbers.tobytes())
    main(str(tmp_path), tiny_efficientnet, limit=40, image_size=32, epochs=1)
    said = capsys.readouterr().out
    assert "full test accuracy" in said
    assert "the first test image is a" in said
