import pytest
import yaml

from kerasft import recipe
from kerasft.errors import UserError


class Tuner:
    """Has the arguments of FineTuner and `fit`, so that most tests need no TensorFlow."""

    def __init__(self, task, backbone, method="full", *, objectives=(), learning_rate=None, **task_arguments):
        pass

    def fit(self, data, *, validation_data=None, optimizer=None, distribution=None, epochs=3):
        pass


CALLS = (Tuner, Tuner.fit)
GOOD = {"task": "text_classification", "backbone": "b", "data": "reviews.csv"}


def written(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# === read ===


def test_read_takes_numbers_and_words_as_yaml_1_2_does(tmp_path):
    text = "learning_rate: 5e-5\nepochs: 3\nlabels: [no, yes, on, 1:30, 2024-01-01, 010]\nseed: ~\npair: true\nb: .5\n"
    assert recipe.read(written(tmp_path, text)) == {
        "learning_rate": 5e-5,
        "epochs": 3,
        "labels": ["no", "yes", "on", "1:30", "2024-01-01", "010"],
        "seed": None,
        "pair": True,
        "b": 0.5,
    }


def test_read_copies_a_dict():
    source = {"method": {"name": "freeze"}}
    assert recipe.read(source, ["method.blocks=2"]) == {"method": {"name": "freeze", "blocks": 2}}
    assert source == {"method": {"name": "freeze"}}


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("method.rank=16", "method", {"name": "lora", "rank": 16}),
        ("method={name: freeze, blocks: 4}", "method", {"name": "freeze", "blocks": 4}),
        ("method=full", "method", "full"),
        ("learning_rate=3e-5", "learning_rate", 3e-5),
        ("backbone=starter:minilm_l6_en", "backbone", "starter:minilm_l6_en"),
        ("labels=[a, b]", "labels", ["a", "b"]),
        ("data.limit=5", "data", {"name": "idx", "limit": 5}),
        ("schedule=", "schedule", None),
        ("objectives.0.alpha=0.5", "objectives", [{"name": "l2_sp", "alpha": 0.5}]),
        ("objectives.0=r_drop", "objectives", ["r_drop"]),
        ("optimizer.clip_norm=2", "optimizer", {"clip_norm": 2}),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_overrides(override, key, value):
    source = {"method": "lora", "data": {"name": "idx"}, "objectives": ["l2_sp"], "optimizer": None}
    assert recipe.read(source, [override])[key] == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "must be key=value"),
        ("=3", "must be key=value"),
        ("data.limit=5", r"data is 'reviews.csv', which has no parts.*data.limit="),
        ("epochs.x=5", "epochs is 3, which has no parts"),
        ("objectives.1.alpha=5", "the list there has 1 items"),
        ("objectives.x=5", "the list there has 1 items"),
        ("labels=[a, b", r"labels=\[a, b, line 1"),
    ],
)
def test_overrides_that_lead_nowhere_are_refused(override, message):
    with pytest.raises(UserError, match=message):
        recipe.read({"data": "reviews.csv", "epochs": 3, "objectives": ["l2_sp"]}, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: a\nepochs: 1\ntask: b\n",
            r"r.yaml, line 3, column 1: the key 'task' is there twice. Received: 'task: b'",
        ),
        ("method: {name: a, name: b}", "the key 'name' is there twice"),
        ("a: &x [1]\nb: *x\n", r"line 2, column 4: an alias \(\*…\) is not allowed"),
        ("a: &a [*a]", "an alias"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: [1, 2\nb: 3", "line 2"),
        ("- a\n- b", r"a recipe is a mapping, .*Received: \['a', 'b'\]"),
        ("", "a recipe is a mapping.*Received: None"),
        ("just words", "a recipe is a mapping"),
        ("a: \x01", "cannot be read as YAML"),
        ("a: " + "9" * 5000, "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("{[a]: 1}", "unhashable"),
    ],
)
def test_read_refuses(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        recipe.read(written(tmp_path, text))


def test_read_says_which_file_is_missing(tmp_path):
    written(tmp_path, "a: 1")
    with pytest.raises(UserError, match="no such recipe. Did you mean 'r.yaml'"):
        recipe.read(str(tmp_path / "s.yaml"))
    with pytest.raises(UserError, match="This is a folder"):
        recipe.read(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        recipe.read(str(tmp_path / "latin.yaml"))


# === write ===


def test_write_and_read_are_inverse(tmp_path):
    same = ["no", "1e-5", "1.5e3", "~", "true", "1", "é", "a: b", "", "# c"]
    original = {"z": same, "a": same, "learning_rate": 5e-05, "n": None, "d": {"y": 1, "x": [{"b": True}]}}
    path = tmp_path / "out.yaml"
    recipe.write(original, path, comment="score 0.9\nkerasft fit out.yaml")
    assert path.read_text(encoding="utf-8").startswith("# score 0.9\n# kerasft fit out.yaml\nz:\n")
    assert recipe.read(path) == original
    assert list(recipe.read(path)) == list(original)
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == original
    assert [p.name for p in tmp_path.iterdir()] == ["out.yaml"]


def test_arguments_of_and_fill():
    both = {**GOOD, "epochs": 2, "labels": ["a", "b"]}
    assert recipe.arguments_of(both, Tuner.fit) == {"data": "reviews.csv", "epochs": 2}
    rest, arguments = recipe.parted(both, Tuner.fit)
    assert arguments == recipe.arguments_of(both, Tuner.fit)
    assert rest == {key: value for key, value in both.items() if key not in ("data", "epochs")}
    filled = recipe.fill({"method": {"name": "freeze", "blocks": {"choice": [1]}}}, {"method.blocks": 1, "epochs": 3})
    assert filled == {"method": {"name": "freeze", "blocks": 1}, "epochs": 3}


def test_the_variant_that_is_chosen_takes_the_place_of_its_arguments():
    choice = [{"method": "full", "epochs": 2}, {"method": "lora"}]
    made = {**GOOD, "epochs": 1, "variant": {"choice": choice}}
    recipe.check(made, CALLS)
    assert list(recipe.ranges(made)) == ["variant"]
    assert recipe.fill(made, {"variant": choice[0]}) == {**GOOD, "method": "full", "epochs": 2}
    assert recipe.fill(made, {"epochs": 3}) == {**made, "epochs": 3}


# === ranges ===


def test_ranges_are_found_by_path():
    made = {
        "learning_rate": {"min": 1e-5, "max": 1e-4, "sampling": "log"},
        "method": {"name": "freeze", "blocks": {"choice": [0, 2, 4]}},
        "objectives": [{"name": "l2_sp", "alpha": {"min": 0, "max": 1, "step": 0.1}}],
        "columns": {"text": "review"},
        "data": [{"min": 1, "max": 2}],
    }
    found = recipe.ranges(made)
    assert list(found) == ["learning_rate", "method.blocks", "objectives.0.alpha"]
    assert found["method.blocks"] == {"choice": [0, 2, 4]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"choice": []}, "a choice is a list"),
        ({"choice": 3}, "a choice is a list"),
        ({"choice": [1], "step": 1}, "a choice is a list"),
        ({"choice": [{"name": "freeze", "blocks": {"min": 1, "max": 2}}]}, "a choice is a list of values"),
        ({"min": 1}, "a below b"),
        ({"min": 2, "max": 1}, "a below b"),
        ({"min": "1", "max": 2}, "two numbers"),
        ({"min": True, "max": 2}, "two numbers"),
        ({"min": 0, "max": 1, "sampling": "log"}, "min must be above 0"),
        ({"min": 1, "max": 9, "sampling": "log", "step": 1}, "a factor above 1"),
        ({"min": 1, "max": 9, "sampling": "lig"}, "Did you mean 'log'"),
        ({"min": 1, "max": 9, "step": 0}, "step must be above 0"),
    ],
)
def test_ranges_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UserError, match=f"^r.yaml: learning_rate: .*{message}.*Received: "):
        recipe.ranges({"learning_rate": wrong}, "r.yaml")


# === check ===


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"labels": ["a", "b"], "sequence_length": 64, "multi_label": True, "epochs": 2},
        {"task": {"name": "text_classification", "pair": True}},
        {"method": {"name": "freeze", "blocks": {"choice": [1, 2]}}},
        {"method": {"choice": ["full", {"name": "freeze", "blocks": 2}]}},
        {"optimizer": "sgd"},
        {"optimizer": {"name": "adamw", "weight_decay": 0.1, "clip_norm": 2.0, "beta_1": 0.8}},
        {"data": {"name": "csv", "path": "x"}},
        {"data": [{"name": "Ann", "text": "good"}]},
    ],
)
def test_check_passes(more):
    recipe.check({**GOOD, **more}, CALLS)


def test_check_tells_all_errors_at_once_with_their_paths():
    wrong = {
        "task": "text_classification",
        "bakbone": "b",
        "lables": ["a", "b"],
        "method": {"name": "freeze", "blks": 4},
        "optimizer": {"name": "adamw", "wait_decay": 1},
        "data": {"name": "csv", "separater": ";"},
        "validation_data": {"path": "x.csv"},
        "learning_rate": {"min": 2, "max": 1},
    }
    with pytest.raises(UserError) as error:
        recipe.check(wrong, CALLS, "r.yaml")
    lines = str(error.value).splitlines()
    assert all(line.startswith("r.yaml: ") and "Received: " in line for line in lines)
    expected = [
        "learning_rate: a range is",
        "bakbone: there is no such argument. Did you mean 'backbone'?",
        "lables: there is no such argument. Did you mean 'labels'?",
        "backbone is missing",
        "method.blks: there is no such argument. Did you mean 'blocks'? Received: blks=4",
        "optimizer.wait_decay: there is no such argument. Did you mean 'weight_decay'?",
        "data.separater: there is no such argument. Did you mean 'separator'?",
        "data.path is missing: csv needs it",
        "validation_data.name is missing",
    ]
    assert len(lines) == len(expected)
    assert all(part in line for part, line in zip(expected, lines, strict=True)), str(error.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"task": "text_clasification", "labels": ["a"]},
            "^recipe: task: kerasft/tasks/ has no .*Did you mean 'text_class",
        ),
        ({"method": "lorra"}, "^recipe: method: kerasft/methods/ has no 'lorra'"),
        ({"method": {"choice": ["full", "frese"]}}, "Did you mean 'freeze'"),
        ({"task": {"name": "text_classification", "lables": []}}, "task.lables: .*'labels'"),
        ({"image_size": 32}, "image_size: there is no such argument"),
        ({"distribution": "miror"}, "Did you mean 'mirrored'"),
        ({"objectives": [{"name": "l2_sp", "alfa": 1}]}, "objectives.0.alfa: .*'alpha'"),
        ({"data": {"name": "csvv", "path": "x"}}, "data: kerasft/data/ has no 'csvv'. Did you mean 'csv'"),
        ({"data": {"name": ["csv"]}}, "data: kerasft/data/ has no"),
        ({"variant": {"choice": [{"epochs": 1}, {"method": "lorra"}]}}, "method: kerasft/methods/ has no 'lorra'"),
        ({"variant": {"choice": ["full"]}}, "variant: it is .*dicts of arguments"),
        ({"variant": [{"epochs": 1}]}, "variant: it is .*dicts of arguments"),
        (
            {"variant": {"choice": [{"data": "a.csv"}]}},
            "variant: data must stand beside it, the same for all. Received: ",
        ),
        ({"variant": {"choice": [{"validation_data": "a.csv"}]}}, "variant: validation_data must stand beside it"),
    ],
)
def test_check_refuses(more, message):
    with pytest.raises(UserError, match=message) as error:
        recipe.check({**GOOD, **more}, CALLS)
    assert len(str(error.value).splitlines()) == 1


def test_check_knows_the_arguments_of_fine_tuner():
    from kerasft import FineTuner

    recipe.check({**GOOD, "precision": "float32", "resume": "never", "directory": "x"}, (FineTuner, FineTuner.fit))
    with pytest.raises(UserError, match="precison: .*'precision'"):
        recipe.check({**GOOD, "precison": "float32"}, (FineTuner, FineTuner.fit))
