import argparse
import json
import subprocess
import sys
import time

import pytest

from benchmarks import measure


def run(monkeypatch, rows, batch_size, step_seconds):
    """Returns the figures of a loop whose steps take these seconds."""
    now = [100.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    stopwatch = measure.Stopwatch(rows, batch_size)
    stopwatch.begin()
    for seconds in step_seconds:
        now[0] += seconds
        stopwatch.step()
    stopwatch.end()
    return stopwatch.figures()


def test_steady_speed_leaves_out_the_first_steps(monkeypatch):
    # 40 steps an epoch; 20 slow steps of 1 s, then 20 of 0.25 s.
    monkeypatch.setattr(measure, "seconds_alive", lambda: 9.0)
    figures = run(monkeypatch, rows=400, batch_size=10, step_seconds=[1.0] * 20 + [0.25] * 20)
    assert figures == {
        "first_step_seconds": 9.0,
        "steps": 40,
        "training_seconds": 25.0,
        "examples_per_second": 16.0,
        "steady_examples_per_second": 40.0,
    }


def test_the_last_batch_of_an_epoch_counts_what_it_holds(monkeypatch):
    # 7 examples in batches of 3: steps of 3, 3 and 1, ten epochs and a step of the eleventh.
    figures = run(monkeypatch, rows=7, batch_size=3, step_seconds=[1.0] * 31)
    assert figures["examples_per_second"] == round(73 / 31, 2)
    # The first 20 steps are six epochs and two steps: 48 examples.
    assert figures["steady_examples_per_second"] == round((73 - 48) / 11, 2)


def test_a_short_loop_has_no_steady_speed(monkeypatch):
    assert run(monkeypatch, rows=100, batch_size=10, step_seconds=[1.0] * 20)["steady_examples_per_second"] is None


def test_read_table_takes_quotes_as_they_are(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text('a "quoted film\t1\nbad , very bad\t0\nfine\t1\n', encoding="utf-8")
    assert measure.read_table(path, rows=2) == (['a "quoted film', "bad , very bad"], [1, 0])


def test_sentences_begin_again_where_the_file_ends(tmp_path):
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\t0\n", encoding="utf-8")
    assert measure.sentences(tmp_path / "a.tsv", 5) == ["one", "two", "one", "two", "one"]


def test_report_prints_one_line_of_json(monkeypatch, capsys):
    stopwatch = measure.Stopwatch(10, 10)
    stopwatch.begin()
    stopwatch.step()
    while sys.platform == "linux" and not stopwatch.peak_anonymous_mb:
        time.sleep(0.01)
    stopwatch.end()
    measure.report("job", argparse.Namespace(seed=3), stopwatch, {"accuracy": 0.5}, ("pytest",))
    line = json.loads(capsys.readouterr().out)
    assert (line["job"], line["accuracy"], line["settings"], line["steps"]) == ("job", 0.5, {"seed": 3}, 1)
    assert line["versions"] == {"pytest": pytest.__version__}
    assert 10 < line["peak_rss_mb"] < 10**6
    assert sys.platform != "linux" or 5 < line["peak_anonymous_mb"] < line["peak_rss_mb"]


def test_a_table_grows_in_rows_and_in_length(tmp_path):
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\t0\nthree\t0\n")
    grown = measure.grown_table(tmp_path / "a.tsv", 3, 2)
    assert grown == (["one two", "three one", "two three"], [1, 0, 0])


def test_the_age_of_a_process_counts_from_its_start():
    begin = measure.seconds_alive()
    if begin is None:
        pytest.skip("this system does not say")
    code = "import time; time.sleep(0.5); from benchmarks import measure; print(measure.seconds_alive())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(done.stdout) < 30
    assert begin > 0
