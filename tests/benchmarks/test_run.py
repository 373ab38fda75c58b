import importlib.util
import subprocess
import sys

import pytest

from benchmarks import run


@pytest.mark.parametrize("suite", run.SUITES)
def test_every_job_names_a_script_and_a_try_out(suite):
    assert suite in run.QUICK
    for environment, module, *_ in run.SUITES[suite].values():
        assert environment in run.PYTHON
        assert importlib.util.find_spec(module) is not None


def test_places_are_filled_in():
    line = run.command(("ours", "module", "--train", "DATA/a.tsv"), {"DATA": "/data"}, 2, ("--rows", "9"))
    assert line[1:] == ["-m", "module", "--train", "/data/a.tsv", "--seed", "2", "--rows", "9"]


def test_jobs_run_in_turn(monkeypatch):
    seen = []

    def run_job(arguments, places):
        seen.append((arguments[2], arguments[-1]))
        return {"accuracy": 1.0, "examples_per_second": 1.0, "peak_rss_mb": 1}

    monkeypatch.setattr(run, "run_job", run_job)
    monkeypatch.setitem(run.SUITES, "two", {"a": ("ours", "m.a"), "b": ("peers", "m.b")})
    first, second = run.run_suite("two", {}, repeats=2, extra=())
    assert seen == [("m.a", "0"), ("m.b", "0"), ("m.a", "1"), ("m.b", "1")]
    assert [r["repeat"] for r in first] == [0, 0]
    assert [r["repeat"] for r in second] == [0, 0, 1, 1]


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bfloat16_jobs_run_where_the_processor_has_it(monkeypatch, has_bfloat16):
    monkeypatch.setattr(run.results, "machine", lambda: {"bfloat16": has_bfloat16})
    assert run.NEED_BFLOAT16 <= {job for suite in run.SUITES.values() for job in suite}
    assert bool(run.NEED_BFLOAT16 & set(run.jobs_of("sst2_speed"))) == has_bfloat16


def test_a_failing_job_ends_the_run_with_its_last_words():
    code = "import sys; print('half a result'); sys.exit('out of memory')"
    with pytest.raises(SystemExit, match="(?s)out of memory.*exit code 1"):
        run.run_job([sys.executable, "-c", code])


def test_the_line_of_json_is_found_among_others():
    code = 'print("chatter"); print(\'{"job": "x", "accuracy": 1.0}\'); print("more")'
    assert run.run_job([sys.executable, "-c", code]) == {"job": "x", "accuracy": 1.0}


def test_results_do_not_name_this_machines_folders():
    code = """print('{"job": "x", "train": "/somewhere/sst2/train.tsv"}')"""
    found = run.run_job([sys.executable, "-c", code], {"DATA": "/somewhere"})
    assert found == {"job": "x", "train": "DATA/sst2/train.tsv"}


def test_help_needs_no_data():
    shown = subprocess.run([sys.executable, "-m", "benchmarks.run", "--help"], cwd=run.ROOT, capture_output=True)
    assert shown.returncode == 0
    assert b"sst2_speed" in shown.stdout
