import os

import numpy as np
import pytest
from safetensors.numpy import load_file

import kerasft
from kerasft import weights
from kerasft.averaging import interpolation, wise_ft
from kerasft.errors import UserError
from tests.averaging.conftest import ROWS

TEXTS = [row["text"] for row in ROWS]


@pytest.fixture(
    scope="module",
    params=["full", pytest.param({"name": "freeze", "blocks": 1}, marks=pytest.mark.slow), "lora"],
    ids=["full", "freeze", "lora"],
)
def run(request, make_run):
    return make_run(0, request.param)


@pytest.fixture(autouse=True)
def few_alphas(monkeypatch):
    assert interpolation.ALPHAS == pytest.approx(np.linspace(0, 1, 11))
    monkeypatch.setattr(interpolation, "ALPHAS", (0.0, 0.5, 1.0))


def saved(directory):
    return load_file(os.path.join(directory, "weights.safetensors"))


def test_alpha_1_is_the_run(run, tmp_path):
    wise_ft(run, tmp_path / "out", ROWS, alpha=1)
    ours, theirs = kerasft.load(tmp_path / "out").predict(TEXTS), kerasft.load(run).predict(TEXTS)
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-6)


def test_alpha_0_is_the_pretrained_backbone_under_the_head_of_the_run(run, tmp_path):
    wise_ft(run, tmp_path / "out", ROWS, alpha=0)
    loaded = kerasft.load(run)
    base = kerasft.FineTuner(**{**loaded.arguments, "method": "full"})
    for ours, theirs in zip(base.model.head.weights, loaded.model.head.weights, strict=True):
        ours.assign(theirs)
    expected = base.predict(TEXTS)["scores"]
    np.testing.assert_allclose(kerasft.load(tmp_path / "out").predict(TEXTS)["scores"], expected, atol=1e-6)
    assert not np.allclose(loaded.predict(TEXTS)["scores"], expected, atol=1e-3)


def test_between_them_weights_lie_on_a_line(make_run, tmp_path):
    run = make_run(1)
    result = wise_ft(run, tmp_path / "out", ROWS, shifted=ROWS[:6], alpha=0.25)
    base = weights.by_path(kerasft.FineTuner(**kerasft.load(run).arguments).model)
    learned, ours = saved(run), saved(result.directory)
    for path, value in ours.items():
        expected = learned[path] if path.startswith("head/") else 0.75 * base[path].numpy() + 0.25 * learned[path]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7, err_msg=path)
    assert [row["alpha"] for row in result.rows] == [0, 0.25, 0.5, 1]
    assert [row["alpha"] for row in result.rows if row["chosen"]] == [0.25]
    assert (tmp_path / "out" / "wise_ft.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_on_validation_is_chosen(make_run, tmp_path):
    result = wise_ft(make_run(2, noise=0.3), tmp_path / "out", ROWS)
    values = [row["validation accuracy"].value for row in result.rows]
    assert [bool(row["chosen"]) for row in result.rows].index(True) == int(np.argmax(values))
    found = kerasft.load(tmp_path / "out").evaluate(ROWS)["accuracy"].value
    assert found == max(values)


def test_what_has_no_counterpart_in_the_base_is_refused(make_run, tmp_path):
    for number, method in enumerate(["linear_probe", "adapter"]):
        with pytest.raises(UserError, match=f"nothing between this run and .* Received: run='.*run{number}'"):
            wise_ft(make_run(number, method), tmp_path / "out", ROWS)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_out_of_range(alpha, tmp_path):
    with pytest.raises(UserError, match=f"alpha must be from 0 to 1. Received: alpha={alpha}"):
        wise_ft("run", tmp_path / "out", ROWS, alpha=alpha)
