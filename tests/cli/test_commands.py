import csv
import json
import os
import subprocess
import sys

import pytest

from kerasft import cli, recipe
from kerasft.errors import UserError


@pytest.fixture
def kerasft(monkeypatch, tmp_path, capsys):
    """Runs the command line in an empty folder; gives `(code, what it printed, what it said of errors)`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERASFT_TRACEBACK", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["kerasft", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        said = capsys.readouterr()
        return leaving.value.code, said.out, said.err

    return run


@pytest.fixture
def files(tmp_path, tiny_bert, reviews):
    """A recipe of the tiny text encoder, and data, as files."""
    tiny_bert.backbone.save_to_preset(str(tmp_path / "tiny"))
    tiny_bert.converter.save_to_preset(str(tmp_path / "tiny"))
    with open(tmp_path / "reviews.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(reviews)
    made = {"task": "text_classification", "backbone": "tiny", "data": "reviews.csv", "validation_split": 0.25}
    recipe.write(made | {"epochs": 2, "batch_size": 8, "precision": "float32", "name": "r"}, tmp_path / "r.yaml")


def test_fit_evaluate_predict_export(kerasft, files, tmp_path, reviews):
    code, _, said = kerasft("fit", "r.yaml", "epochs=1", "method.blocks=1", "method.name=freeze", "sequence_length=16")
    assert code == 0, said
    assert "kerasft export saved_models/r saved_models/r/export/1" in said
    written = recipe.read(tmp_path / "saved_models" / "r" / "recipe.yaml")
    assert (written["epochs"], written["method"], written["labels"]) == (
        1,
        {"name": "freeze", "blocks": 1},
        ["negative", "positive"],
    )

    code, out, _ = kerasft("evaluate", "saved_models/r", "{name: csv, path: reviews.csv}")
    assert code == 0
    assert out.splitlines()[-1] == f"report  {os.path.join('saved_models/r', 'report.html')}"
    metrics = json.loads((tmp_path / "saved_models" / "r" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    line = next(line for line in out.splitlines() if line.startswith("accuracy "))
    found = metrics["accuracy"]
    assert line.split()[1:] == [f"{found['value']:.4f}", f"{found['low']:.4f}", "to", f"{found['high']:.4f}"]

    code, out, _ = kerasft("predict", "saved_models/r", "a good film", 'a bad "film", naïve', "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["text"] for answer in answers] == ["a good film", 'a bad "film", naïve']
    assert all(list(answer) == ["text", "label", "score", "scores"] for answer in answers)
    assert all(answer["label"] in ("negative", "positive") for answer in answers)
    assert all(max(answer["scores"]) == answer["score"] for answer in answers)

    code, _, said = kerasft("predict", "saved_models/r", "--data", "reviews.csv", "--csv", "out.csv")
    assert (code, "16 answers  out.csv" in said) == (0, True)
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(1, 17))
    assert list(rows[0]) == ["row", "label", "score"]
    code, _, said = kerasft("predict", "saved_models/r", "--data", "reviews.csv", "--csv", "reviews.csv")
    assert (code, said.startswith("Error: There is something already; choose another file.")) == (2, True)

    code, out, _ = kerasft("export", "saved_models/r", "saved_models/r/export/1")
    assert code == 0
    assert out.startswith("exported  saved_models/r/export/1\ndocker run ")
    assert kerasft("export", "saved_models/r", "saved_models/r/export/1")[0] == 2
    code, out, _ = kerasft("export", "saved_models/r", "saved_models/r/export/2", "--format", "saved_model_int8")
    assert (code, out.startswith("exported  saved_models/r/export/2\ndocker run ")) == (0, True)


def test_a_terminal_gets_a_table(kerasft, monkeypatch):
    answers = [{"text": "[b]", "label": "negative", "score": 0.75, "scores": [0.75, 0.25]}]
    monkeypatch.setattr("kerasft.cli.answers.for_inputs", lambda tuner, inputs: answers)
    monkeypatch.setattr("kerasft.load", lambda run: None, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # No bold, no colours.
    _, out, _ = kerasft("predict", "r", "[b]")
    assert [line.split() for line in out.splitlines()] == [["text", "label", "score"], ["[b]", "negative", "0.75"]]


def test_predict_wants_inputs_or_data(kerasft):
    for arguments in (["r"], ["r", "a film", "--data", "x.csv"]):
        code, _, said = kerasft("predict", *arguments)
        assert code == 2
        assert said.startswith("Error: Give inputs or --data, one of the two. Received: ")


def test_fit_refuses_ranges_and_errors_in_the_recipe(kerasft, files):
    code, _, said = kerasft("fit", "r.yaml", "learning_rate={min: 1e-5, max: 1e-4}")
    assert code == 2
    assert said == (
        "Error: r.yaml with learning_rate={min: 1e-5, max: 1e-4} has ranges, which only a search can try: "
        "kerasft search r.yaml. Received: learning_rate\n"
    )
    code, _, said = kerasft("fit", "r.yaml", "methd=full", "epoch=1")
    assert code == 2
    assert len(said.splitlines()) == 2
    assert "r.yaml with methd=full epoch=1: methd: there is no such argument. Did you mean 'method'?" in said
    code, _, said = kerasft("fit", "r.yml")
    assert (code, said) == (2, "Error: There is no such recipe. Did you mean 'r.yaml'? Received: 'r.yml'\n")


def test_smoke_fits_few_rows_once(kerasft, files, monkeypatch):
    fitted = []
    monkeypatch.setattr("kerasft.cli.commands._fit", fitted.append)
    assert kerasft("fit", "r.yaml", "--smoke")[0] == 0
    assert (fitted[0]["epochs"], fitted[0]["name"], len(fitted[0]["data"])) == (1, "smoke", 16)


def test_dry_run_forecasts_and_writes_nothing(kerasft, files, tmp_path):
    code, out, said = kerasft("fit", "r.yaml", "--dry-run")
    assert code == 0, said
    assert [line.split()[0] for line in out.splitlines()] == ["time", "memory", "disk"]
    assert "in saved_models/r," in out
    assert not os.path.exists(tmp_path / "saved_models")


@pytest.mark.slow
def test_two_runs_of_one_recipe_leave_the_same_files(files, tmp_path):
    for directory in ("one", "two"):  # Each in a process of its own, with its own order of hashes.
        command = [sys.executable, "-m", "kerasft", "fit", "r.yaml", "directory=run"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        os.rename(tmp_path / "run", tmp_path / directory)  # The report tells commands with the folder in them.
    found = [sorted(path.relative_to(tmp_path / d) for path in (tmp_path / d).rglob("*")) for d in ("one", "two")]
    one, two = ([name for name in names if name.parts[0] != "logs"] for names in found)  # Events have times.
    assert one == two
    assert len(one) > 10
    for name in one:
        first, second = tmp_path / "one" / name, tmp_path / "two" / name
        if name.name == "manifest.json":
            first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
            del first["saved"], second["saved"]
            assert first == second
        elif first.is_file():
            assert first.read_bytes() == second.read_bytes(), name


def test_search_prints_the_table_and_fits_the_best(kerasft, files, monkeypatch, tmp_path):
    from kerasft.search import search as module

    rows = [
        {"rank": 1, "trial": "1", "learning_rate": 3.21e-05, "val_accuracy": 0.75, "seconds": 2.0, "error": None},
        {"rank": 2, "trial": "0", "learning_rate": 1e-3, "val_accuracy": None, "seconds": None, "error": "diverged"},
    ]
    asked, fitted = [], []

    def search(recipe, **settings):
        asked.append(settings)
        return module.Result({"learning_rate": 3.21e-05}, rows[0], 0.75, rows, "s")

    monkeypatch.setattr(module, "search", search)
    monkeypatch.setattr("kerasft.cli.commands._fit", fitted.append)
    code, out, _ = kerasft(
        "search", "r.yaml", "learning_rate={min: 1e-5, max: 1e-3}", "--trials", 2, "--directory", "s", "--folds", 3
    )
    assert code == 0
    assert asked == [{"tuner": "random", "trials": 2, "directory": "s", "folds": 3}]
    assert [line.split() for line in out.splitlines()] == [
        ["rank", "trial", "learning_rate", "val_accuracy", "seconds", "error"],
        ["1", "1", "3.21e-05", "0.75", "2"],
        ["2", "0", "0.001", "diverged"],
        ["trials", "s/trials.csv"],
        ["best", "recipe", "s/best_recipe.yaml"],
        ["fit", "kerasft", "fit", "s/best_recipe.yaml"],
    ]
    kerasft("search", "r.yaml", "--tuner", "grid", "--fit-best")
    assert fitted == [{"learning_rate": 3.21e-05}]
    first = {"rank": 1, "trial": "2", "learning_rate": 1e-3, "val_accuracy": 0.8, "seconds": 2.0, "error": None}
    rows.insert(0, first)
    monkeypatch.setattr(module, "search", lambda recipe, **settings: module.Result({}, rows[1], 0.75, rows, "s"))
    _, out, _ = kerasft("search", "r.yaml", "learning_rate={choice: [1e-5, 1e-3]}", "--folds", 3)
    assert "chosen       trial 1, within one standard error of the first and before it" in out


def test_presets_lists_and_filters(kerasft):
    code, out, _ = kerasft("presets", "starter:minilm")
    assert code == 0
    assert out.splitlines()[1].split()[:3] == ["starter:minilm_l6_en", "text", "encoder"]
    code, _, said = kerasft("presets", "bertt_base_en")
    assert code == 2
    assert "No preset has this word. Did you mean " in said


def test_data_may_be_a_source_with_arguments():
    from kerasft.cli.commands import _data

    assert _data("reviews.csv") == "reviews.csv"
    assert _data('{name: csv, path: x, separator: "\\t"}') == {"name": "csv", "path": "x", "separator": "\t"}
    assert _data('[{"text": "a", "label": "b"}]') == [{"text": "a", "label": "b"}]
    with pytest.raises(UserError, match="DATA, line 1"):
        _data("{name: csv")


def test_compare_prints_the_table_and_where_the_report_is(kerasft, files, monkeypatch):
    from kerasft.compare import compare as module
    from kerasft.compare import results

    asked = []

    def compare(plan, directory, command):
        asked.append((plan, directory, command))
        names = [variant.name for variant in plan.variants]
        figures = {"trained_weights": 1234, "learning_rate": 5e-5, "training_seconds": 2.04, "peak_memory_mb": None}
        runs = [
            {
                "variant": name,
                "seed": 0,
                "test": plan.digests["test"],
                "metric": "accuracy",
                "scores": [1, 0],
                "figures": figures | {"weights_mb": 1},
            }
            for name in names
        ]
        return results.of(plan, runs, directory or "d") if plan.examples == 2 else results.of(plan, [], "d")

    monkeypatch.setattr(module, "compare", compare)
    test = "[{text: good, label: positive}, {text: bad, label: negative}]"
    code, out, said = kerasft("compare", "r.yaml", "--methods", "full,lora", "--seeds", 1, "--test", test)
    assert code == 0, said
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:2] == ["full", "0.5000"]
    assert lines[2][:2] == ["lora", "0.5000"]
    assert lines[2][-5:] == ["=", "1,234", "5e-05", "2.0", "1"]
    assert out.splitlines()[3] == "scored on test data, list of dicts (2 examples)"
    assert out.splitlines()[-1] == f"report  {os.path.join('d', 'comparison.md')}, also as .json and .png"
    assert asked[0][2].startswith("kerasft compare r.yaml --methods full,lora --seeds 1 --test '[{text: good")
    code, _, said = kerasft("compare", "r.yaml", "--methods", "full,lp_ft", "--smoke", "--test", "reviews.csv")
    assert code == 0, said
    assert (asked[1][0].seeds, asked[1][0].examples, asked[1][0].variants[1].recipe["epochs"]) == ([0], 16, 2)
    assert not os.path.exists(asked[1][1])  # A folder for the while.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["r.yaml"], "Error: Name two variants at least"),
        (["r.yaml", "--methods", "full,lorra"], "Did you mean 'lora'?"),
        (["r.yaml", "--methods", "full,{name: lora"], "Error: --methods, line 1"),
        (["r.yaml", "--objectives", "l2_spp"], "Did you mean 'l2_sp'?"),
        (["r.yaml", "--methods", "full,lora", "--test", "revues.csv"], "Did you mean 'reviews.csv'?"),
        (["r.yaml", "learning_rate={min: 1e-5, max: 1e-4}", "--methods", "full,lora"], "has ranges"),
        (["r.yaml", "--methods", "full,lora", "--seeds", "0"], "Invalid value for '--seeds'"),
    ],
)
def test_compare_refuses_before_anything_runs(kerasft, files, arguments, message):
    code, out, said = kerasft("compare", *arguments)
    assert (code, out) == (2, "")
    assert message in said
    assert "Traceback" not in said
    assert not os.path.exists("saved_models")


def test_average_prints_the_table(kerasft, files, monkeypatch):
    from kerasft.averaging.result import Result
    from kerasft.evaluation.bootstrap import Estimate

    asked = []

    def average(*arguments, **data):
        asked.append((arguments, data))
        rows = [{"run": "greedy soup", "averaged": "", "validation accuracy": Estimate(0.9, 0.8, 1.0)}]
        return Result("soup", rows)

    monkeypatch.setattr("kerasft.averaging.average", average)
    code, out, _ = kerasft("average", "a", "b", "--data", "{name: csv, path: v.csv}", "--directory", "soup")
    assert code == 0
    data = {"data": {"name": "csv", "path": "v.csv"}, "shifted": None, "train": None}
    assert asked == [(("greedy", ["a", "b"], "soup", None), data)]
    assert out.splitlines()[1].split() == ["greedy", "soup", "0.9000", "[0.8000,", "1.0000]"]
