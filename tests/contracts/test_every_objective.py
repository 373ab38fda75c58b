"""What every objective must keep, with any method, precision and accumulation: the folder is walked."""

import numpy as np
import pytest

from kerasft import registry
from kerasft.fine_tuner import FineTuner

OBJECTIVES = {name: registry.find("objectives", name) for name in registry.names("objectives")}
ONLY_IMAGES = {"cutmix"}
ARGUMENTS = {
    "distillation": {"teacher": "logits.npy"},
    "pseudo_labels": {"data": [{"text": "a good film"}, {"text": "a bad one"}], "threshold": 0.1},
}
SLOWER = {"class_balanced", "focal", "label_smoothing", "manifold_mixup", "mixup", "neftune", "supervised_contrastive"}


def examples(name, seed=0):
    if name not in ONLY_IMAGES:
        return [{"text": f"{w} film {i} {seed}", "label": w} for i in range(8) for w in ("good", "bad")]
    return list(np.random.default_rng(seed).integers(0, 256, (16, 32, 32, 3), dtype="uint8")), ["good", "bad"] * 8


def identifier(name, tmp_path):
    given = dict(ARGUMENTS.get(name, {}))
    if "teacher" in given:
        np.save(tmp_path / "logits.npy", np.random.default_rng(0).normal(size=(16, 2)))
        given["teacher"] = str(tmp_path / "logits.npy")
    return {"name": name, **given}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOWER else name for name in OBJECTIVES]
)
def test_it_goes_with_lora_bfloat16_and_accumulation(name, make_tiny, tmp_path):
    is_image = name in ONLY_IMAGES
    tuner = FineTuner(
        "image_classification" if is_image else "text_classification",
        make_tiny("vit" if is_image else "bert"),
        "lora",
        objectives=[identifier(name, tmp_path)],
        optimizer={"name": "adamw", "gradient_accumulation_steps": 2},
        precision="mixed_bfloat16",
        labels=["bad", "good"],
        learning_rate=1e-2,
    )
    data = examples(name)
    folder = tmp_path / "run"
    history = tuner.fit(data, validation_data=examples(name, 1), epochs=2, batch_size=4, directory=folder).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert (name in history) == OBJECTIVES[name].has_term
    assert f"val_{name}" not in history
    loaded, inputs = FineTuner.load(str(folder)), ["a good film"] if not is_image else data[0][:1]
    np.testing.assert_allclose(loaded.predict(inputs)["scores"], tuner.predict(inputs)["scores"], atol=1e-6)
    assert loaded.recipe["objectives"] == tuner.recipe["objectives"]


@pytest.mark.slow
def test_all_go_together(make_tiny, tmp_path):
    chosen = [identifier(name, tmp_path) for name in OBJECTIVES if name not in ONLY_IMAGES]
    tuner = FineTuner("text_classification", make_tiny("bert"), objectives=chosen, labels=["bad", "good"])
    history = tuner.fit(examples("all"), epochs=2, batch_size=8, directory=tmp_path / "run").history
    terms = [name for name, cls in OBJECTIVES.items() if name not in ONLY_IMAGES and cls.has_term]
    assert set(terms) <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())
