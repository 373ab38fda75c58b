"""The layout that docs/architecture.md describes, checked on the source, which is parsed and not imported."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kerasft"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

PLUGIN_FOLDERS = (
    *("callbacks", "data", "distribution", "exporters", "losses", "methods"),
    *("metrics", "objectives", "optimizers", "presets", "schedules", "tasks"),
)
VERBS = {"data": "read", "presets": "load", "exporters": "write", "distribution": "strategy"}

# A module or folder imports only what has a lower level, its own folder, and at level 0 its peers.
LEVELS = (
    (
        *(
            "errors",
            "checks",
            "files",
            "cache",
            "memory",
            "inspection",
            "registry",
            "recipe",
            "weights",
            "surgery",
            "hub_blocks",
            "axes",
            "quantization",
            "deltas",
        ),
        *("hugging_face", "taps", "lean", "once", "shared", "remat", "frozen", "steps", "model", "pipeline"),
    ),
    PLUGIN_FOLDERS,
    ("evaluation", "training", "serving", "console"),
    ("run_folder",),
    ("adapters",),
    ("fine_tuner",),
    ("search", "compare", "averaging", "dry_run"),
    ("cli",),
    ("__main__",),
)
LEVEL = {owner: level for level, owners in enumerate(LEVELS) for owner in owners}

MAY_USE_PRIVATE_NAMES = ("surgery.py", "hub_blocks.py")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS = 400, 40, 6
LONG_SIGNATURES = {
    ("fine_tuner.py", "FineTuner.__init__"),
    ("fine_tuner.py", "FineTuner.fit"),
    ("cli/commands.py", "search"),  # Their arguments are the options of a shell command.
    ("cli/commands.py", "compare"),
    ("cli/commands.py", "average"),
}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def owner_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def plugin_files():
    """Yields the files that `registry.names` finds: no `base.py`, none that begins with an underscore."""
    for folder in PLUGIN_FOLDERS:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            if path.stem != "base" and not path.stem.startswith("_"):
                yield path


def functions(tree, prefix=""):
    """Yields `(qualified name, node)` of every function, those within classes and functions included."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        name = f"{prefix}{node.name}" if is_function or isinstance(node, ast.ClassDef) else ""
        if is_function:
            yield name, node
        yield from functions(node, f"{name}." if name else prefix)


def imported_owners(tree):
    """Yields `(line, owner)` for every import from the package, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[1]) for alias in node.names if "kerasft." in alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module == "kerasft":
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            # What is no module is one of the public names, which come from FineTuner's file.
            yield from ((node.lineno, name if name in LEVEL else "fine_tuner") for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kerasft."):
            yield node.lineno, node.module.split(".")[1]


def dotted(node):
    """Returns `a.b.c` for such an expression, otherwise an empty string."""
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return node.id if isinstance(node, ast.Name) else ""


def code_lines(path):
    """Returns the numbers of the lines that hold more than a comment or a string that stands alone."""
    source = path.read_text(encoding="utf-8")
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    docstrings = {
        line
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - docstrings


def test_every_module_has_a_level():
    assert {owner_of(path) for path in FILES} - {"__init__"} <= set(LEVEL)


def test_imports_go_one_way():
    wrong = []
    for path in FILES:
        own = owner_of(path)
        for line, owner in imported_owners(TREES[path]):
            allowed = own == owner or (LEVEL.get(owner), LEVEL.get(own)) == (0, 0)
            if not allowed and LEVEL.get(owner, 99) >= LEVEL.get(own, 99):
                wrong.append(f"{name_of(path)}:{line} imports kerasft.{owner}")
    assert not wrong, "\n".join(wrong)


def test_imports_are_absolute():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong, "\n".join(wrong)


def test_every_plugin_has_a_test_of_its_name():
    missing = [
        f"tests/{path.parent.name}/test_{path.name}"
        for path in plugin_files()
        if not (ROOT / "tests" / path.parent.name / f"test_{path.name}").exists()
    ]
    assert not missing, "\n".join(missing)


def test_every_plugin_holds_what_its_folder_asks_for():
    wrong = []
    for path in plugin_files():
        verb = VERBS.get(path.parent.name)
        kind = ast.FunctionDef if verb else ast.ClassDef
        found = [node.name for node in TREES[path].body if isinstance(node, kind)]
        wanted = verb or path.stem.replace("_", "")
        if wanted not in (found if verb else [name.lower() for name in found]):
            wrong.append(f"{name_of(path)} has no {'function' if verb else 'class'} {wanted!r}, only {found}")
    assert not wrong, "\n".join(wrong)


def test_files_are_short():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}


def test_functions_are_short():
    wrong = []
    for path in FILES:
        lines = code_lines(path)
        for name, node in functions(TREES[path]):
            length = len(lines & set(range(node.lineno, node.end_lineno + 1)))
            if length > MAX_FUNCTION_LINES and (name_of(path), name) not in LONG_SIGNATURES:
                wrong.append(f"{name_of(path)}:{node.lineno} {name} has {length} lines of code")
    assert not wrong, "\n".join(wrong)


def test_functions_take_few_arguments():
    wrong = []
    for path in FILES:
        for name, node in functions(TREES[path]):
            taken = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([argument for argument in taken if argument not in ("self", "cls")])
            if count > MAX_ARGUMENTS and (name_of(path), name) not in LONG_SIGNATURES:
                wrong.append(f"{name_of(path)}:{node.lineno} {name} takes {count} arguments")
    assert not wrong, "\n".join(wrong)


def test_private_names_of_libraries_stay_in_two_files():
    own = {"_replace", "_asdict", "_fields", "_exit"}  # Public names of namedtuples and of `os`.
    own.update(*(defined_names(tree) for path, tree in TREES.items() if name_of(path) not in MAY_USE_PRIVATE_NAMES))
    wrong = []
    for path, tree in TREES.items():
        if name_of(path) not in MAY_USE_PRIVATE_NAMES:
            wrong += [f"{name_of(path)}:{line} uses {name}" for line, name in private_names(tree) if name not in own]
            lines = path.read_text(encoding="utf-8").splitlines()
            wrong += [
                f"{name_of(path)}:{number} uses {match.group()}"
                for number, text in enumerate(lines, 1)
                if (match := re.search(r"\bkeras(_hub|_tuner|_cv|_nlp)?\.src\b", text))
            ]
    assert not wrong, "\n".join(wrong)


def defined_names(tree):
    """Returns the names that the file itself gives to functions, classes, variables and attributes of `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and dotted(node.value) == "self":
            names.add(node.attr)
    return names


def private_names(tree):
    """Yields `(line, name)` of attributes with one leading underscore, those named in `getattr` too."""
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and dotted(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = getattr(node.args[1], "value", None)
        if isinstance(name, str) and re.match(r"_[^_]", name):
            yield node.lineno, name


def test_no_class_takes_a_private_name_of_keras():
    """An attribute or method of ours by such a name would replace Keras's own, without a word."""
    import keras

    bases = (keras.Model, keras.Layer, keras.Optimizer, keras.Metric, keras.Loss, keras.callbacks.Callback)
    taken = {name for base in bases for name in dir(base) if re.match(r"_[^_]", name)}
    wrong = [
        f"{name_of(path)}:{node.lineno} class {node.name} defines {name}"
        for path, tree in TREES.items()
        if name_of(path) not in MAY_USE_PRIVATE_NAMES
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases
        for name in sorted(defined_names(node) & taken)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("self._mine = 1\nself._mine", []),
        ("layer._tracker.unlock()", ["_tracker"]),
        ("layer._flag = True", ["_flag"]),
        ("getattr(layer, '_lock')", ["_lock"]),
        ("self._symbolic_build()", ["_symbolic_build"]),
        ("def _help(): pass\nmodule._help()", []),
        ("row.__class__", []),
    ],
)
def test_the_check_of_private_names_sees_them(source, found):
    tree = ast.parse(source)
    assert [name for _, name in private_names(tree) if name not in defined_names(tree)] == found
