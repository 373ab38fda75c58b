import json

import pytest

from benchmarks import results


def runs():
    figures = {"examples_per_second": 50.0, "training_seconds": 10.0}
    for name, accuracies, speeds, memory in (
        ("kerasft", (0.90, 0.93, 0.91), (100.0, 120.0, 110.0), 1000),
        ("peer", (0.89, 0.90, 0.94), (55.0, 44.0, 66.0), 2000),
    ):
        for accuracy, speed in zip(accuracies, speeds, strict=True):
            own = {"accuracy": accuracy, "steady_examples_per_second": speed, "peak_rss_mb": memory}
            yield {"name": name, **figures, **own}


def test_means_medians_spread_and_ratios(tmp_path):
    results.write(tmp_path, "suite", ["kerasft", "peer"], list(runs()))
    content = json.loads((tmp_path / "suite.json").read_text())
    accuracy = content["summary"]["kerasft"]["accuracy"]
    assert accuracy == {"typical": pytest.approx(0.9133, abs=1e-4), "min": 0.90, "max": 0.93}
    assert content["summary"]["peer"]["steady_examples_per_second"] == {"typical": 55.0, "min": 44.0, "max": 66.0}
    same = {"steady_examples_per_second": 1.0, "examples_per_second": 1.0, "peak_rss_mb": 1.0}
    assert content["ratios"] == {
        "kerasft": same,
        "peer": {**same, "steady_examples_per_second": 0.5, "peak_rss_mb": 2.0},
    }
    assert len(content["runs"]) == 6


def test_table_and_picture(tmp_path):
    results.write(tmp_path, "suite", ["kerasft", "peer"], list(runs()))
    lines = (tmp_path / "suite.md").read_text().splitlines()
    assert "the mean, of 3 runs" in lines[2]
    assert lines[-1].startswith("| peer | 0.9100 (0.8900 to 0.9400) | 55.0 (44.0 to 66.0) |")
    assert lines[-1].endswith("| 2000 (2000 to 2000) | 0.50 | 1.00 | 2.00 |")
    assert (tmp_path / "suite.png").read_bytes().startswith(b"\x89PNG")


def test_what_no_job_measures_is_left_out_and_what_one_does_not_is_a_dash(tmp_path):
    made = [{**run, "accuracy": None, "steady_examples_per_second": None} for run in runs()]
    made += [{**run, "spearman": 0.5, "name": "other"} for run in made if run["name"] == "peer"]
    results.write(tmp_path, "suite", ["kerasft", "peer", "other"], made)
    lines = (tmp_path / "suite.md").read_text().splitlines()
    assert "accuracy on" not in lines[4] and "Spearman on test" in lines[4]
    assert lines[-2].startswith("| peer | – | 50.0 (50.0 to 50.0) |") and lines[-2].endswith("| – | 1.00 | 2.00 |")
    assert lines[-1].startswith("| other | 0.5000 (0.5000 to 0.5000) |")
    assert (tmp_path / "suite.png").exists()
