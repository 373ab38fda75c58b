import io
import json
import types

import numpy as np
import pytest
from PIL import Image

from kerasft.compare import chart, report, results, statistics
from kerasft.compare.plan import Plan, Variant


def record(variant, seed, scores, **figures):
    given = {"trained_weights": 1000, "learning_rate": 1e-3, "training_seconds": 2.0, "peak_memory_mb": 500.0}
    figures = {**given, "weights_mb": 0.5, **figures}
    return {"variant": variant, "seed": seed, "metric": "accuracy", "scores": scores, "figures": figures}


def planned(*names, examples=200, seeds=(0, 1)):
    variants = [Variant(name, name, {}) for name in names]
    return Plan("r", variants, list(seeds), None, "test data, t.csv (200 examples)", examples, {}, {}, [])


@pytest.fixture
def records():
    """`b` is right where `a` is not on 60 of 200 examples, `c` errs elsewhere; seeds disagree on a few."""
    right = {"a": range(100), "b": range(160), "c": range(2, 102)}
    return [
        record(name, seed, [int(i in found and i != seed) for i in range(200)], trained_weights=10 ** (3 + len(name)))
        for seed in (0, 1)
        for name, found in right.items()
    ]


def test_the_best_is_first_and_differences_are_to_the_first_named(records):
    result = results.of(planned("a", "b", "c"), records, "d")
    assert [row.variant for row in result.table] == ["b", "c", "a"]
    assert (result.baseline, result.metric) == ("a", "accuracy")
    best, middle, baseline = result.table
    assert (baseline.difference, baseline.p, baseline.verdict) == (None, None, "")
    assert (best.verdict, middle.verdict) == ("higher", "=")
    assert best.score.value == pytest.approx(np.mean([159, 159]) / 200)
    a, b, c = ([r["scores"] for r in records if r["variant"] == name] for name in "abc")
    assert best.difference == statistics.difference(b, a)
    assert [best.p, middle.p] == statistics.holm([statistics.difference(x, a).p for x in (b, c)])


def test_figures_are_medians_over_seeds():
    runs = [record("a", seed, [1] * 200, training_seconds=value) for seed, value in enumerate((2.0, 90.0, 3.0))]
    runs += [record("b", 0, [1] * 200, peak_memory_mb=None), record("b", 1, [0] * 200)]
    rows = {row.variant: row for row in results.of(planned("a", "b"), runs, "d").table}
    assert rows["a"].figures["training_seconds"] == 3.0
    assert rows["b"].figures["peak_memory_mb"] is None


def test_a_failed_run_is_left_out_and_told(records):
    lost = next(r for r in records if (r["variant"], r["seed"]) == ("b", 1))
    del lost["scores"]
    lost["error"] = "No room.\nsecond line"
    result = results.of(planned("a", "b", "c"), records, "d")
    best = result.table[0]
    assert best.seeds == [0]
    by_seed = {(r["variant"], r["seed"]): r.get("scores") for r in records}
    assert best.difference == statistics.difference([by_seed["b", 0]], [by_seed["a", 0]])
    assert result.notes == ["b, seed 1 failed: No room."]
    assert [run.get("score") for run in result.runs if run["variant"] == "b"] == [159 / 200, None]
    assert not any("scores" in run for run in result.runs)


def test_what_there_is_so_far(records):
    result = results.of(planned("a", "b", "c"), [*records[1:2], {}, {}, {}, {}, {}], "d")
    assert (result.baseline, [row.variant for row in result.table]) == ("b", ["b"])
    assert result.notes == ["5 of 6 runs are still to be made."]
    assert results.of(planned("a", "b"), [{}] * 4, "d").table == []


def test_scores_on_other_examples_do_not_count(records):
    made = planned("a", "b", "c")
    made.digests["test"] = "new"
    for record in records:
        record["test"] = "new" if record["seed"] == 0 else "old"
    result = results.of(made, records, "d")
    assert [row.seeds for row in result.table] == [[0]] * 3
    assert result.notes == ["3 of 6 runs are still to be made."]
    assert ["score" in run for run in result.runs] == [True] * 3 + [False] * 3


def test_one_seed_is_told(records):
    result = results.of(planned("a", "b", "c", seeds=[0]), records[:3], "d")
    assert result.notes == [
        "With one seed, intervals and p-values are of the examples alone: another seed may differ more."
    ]


def test_the_files(records, tmp_path):
    result = results.of(planned("a", "b", "c"), records, str(tmp_path))
    report.write(result, "kerasft compare r.yaml --methods a,b,c")
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "```\nkerasft compare r.yaml --methods a,b,c\n```" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0].startswith("| variant | accuracy | 95 % interval | difference to a |")
    best, interval = result.table[0].score, result.table[0].difference
    assert lines[2].startswith(
        f"| b | 0.7950 | {best.low:.4f} to {best.high:.4f} | +0.3000 | {interval.low:.4f} to {interval.high:.4f} |"
    )
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert content["variants"][0]["difference"]["value"] == interval.value
    assert content["variants"][2]["difference"] is None
    assert (len(content["runs"]), content["seeds"], content["baseline"]) == (6, [0, 1], "a")
    assert Image.open(tmp_path / "comparison.png").size[0] > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"comparison.{e}" for e in ("json", "md", "png")]


def test_a_name_may_hold_what_ends_a_cell(records):
    result = results.of(planned("a", "b", "c"), records, "d")
    odd = types.SimpleNamespace(**{**vars(result), "baseline": "lora layers=a|b"})
    assert r"difference to lora layers=a\|b |" in report.markdown(odd, "")


def test_no_label_covers_another(monkeypatch):
    """Fourteen variants that cost nearly the same and score nearly the same."""
    names = [f"method_{number}" for number in range(14)]
    runs = [
        record(name, 0, [1] * (150 + number) + [0] * (50 - number), trained_weights=1000 + number, peak_memory_mb=None)
        for number, name in enumerate(names)
    ]
    result = results.of(planned(*names, seeds=[0]), runs, "d")
    places = []
    label = chart._label

    def watched(axes, table, key):
        label(axes, table, key)
        renderer = axes.figure.canvas.get_renderer()
        places.append([chart.Text.get_window_extent(text, renderer) for text in axes.texts])

    monkeypatch.setattr(chart, "_label", watched)
    image = Image.open(io.BytesIO(chart.png(result)))
    assert len(places) == 2  # No panel for a memory that is not known.
    for boxes in places:
        assert len(boxes) == 14
        assert not any(chart._shared(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
        assert all(0 <= box.x0 and box.x1 <= image.width and 0 <= box.y0 and box.y1 <= image.height for box in boxes)
