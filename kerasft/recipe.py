"""Recipes: the keyword arguments of `FineTuner` and `fit`, written as YAML or as a dict."""

import copy
import inspect
import os
import re

import yaml

from kerasft import files, registry
from kerasft.errors import UserError, nearest
from kerasft.registry import parameters

# Where the value of a key is a plug-in by name: the plug-in's folder, and its function where it is no class.
PLUGINS = {
    "task": ("tasks", None),
    "method": ("methods", None),
    "objectives": ("objectives", None),
    "optimizer": ("optimizers", None),
    "schedule": ("schedules", None),
    "distribution": ("distribution", "strategy"),
    "callbacks": ("callbacks", None),
    "data": ("data", "read"),
    "validation_data": ("data", "read"),
}
DATA = ("data", "validation_data")
SUPPLIED = ("learning_rate", "total_steps")  # What training itself hands to a schedule.
MAX_BYTES = 1_000_000  # 50,000 labels; PyYAML reads 100 KB a second.
VARIANT = "variant"  # A choice of dicts: arguments that only go together.
RANGE_KEYS = ("choice", "min", "max", "sampling", "step")


class _Loader(yaml.SafeLoader):
    """Nearly YAML 1.2: `1e-5` is a number, `no` and `007` are words, unlike in PyYAML's 1.1. No aliases, no key twice.

    Aliases would let a file of a few lines grow without bound when it is walked or written.
    """

    yaml_implicit_resolvers = {}

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias (*…) is not allowed; write the value out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` and YAML 1.1 readers read alike."""

    def ignore_aliases(self, data):
        return True


_NUMBER = r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_FLOAT = re.compile(rf"({_NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
for _tag, _pattern, _first in (
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read(source, overrides=()):
    """Returns a recipe as a dict of its own, with `overrides` applied.

    Args:
        source: path of a YAML file, or a dict.
        overrides: sequence of str such as `"method.rank=16"`. Dots lead into dicts and lists, values are YAML; a
            method, task or optimizer that is only named becomes a dict: `lora` → `{name: lora, rank: 16}`.

    Raises: UserError, with file, line and column, if it is no YAML mapping, or if an override leads nowhere.
    Example: >>> read("examples/recipes/text_classification_full.yaml", ["epochs=1"])
    """
    recipe = copy.deepcopy(source) if isinstance(source, dict) else parse(_text(source), os.fspath(source))
    if not isinstance(recipe, dict):
        raise UserError(f"{source}: a recipe is a mapping, 'key: value' lines. Received: {_brief(recipe)}")
    for override in overrides:
        path, equals, value = override.partition("=")
        if not (path and equals):
            raise UserError(f"What follows the recipe must be key=value, such as epochs=1. Received: {override!r}")
        _assign(recipe, path, parse(value, override))
    return recipe


def parse(text, origin):
    """Returns the value of a YAML text: plain Python only, whatever the text says.

    Raises: UserError with `origin`, line and column if it is not YAML, repeats a key or has aliases.
    """
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}, line {mark.line + 1}, column {mark.column + 1}" if mark else origin
        raise UserError(f"{where}: {error.problem or error.context}. Received: {_line(text, mark)!r}") from None
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        # PyYAML fails in many ways over a tag that does not fit its value, such as `!!timestamp x`.
        reason = str(error).partition("\n")[0]
        raise UserError(f"{origin} cannot be read as YAML: {reason}. Received: {_brief(text)}") from None


def write(recipe, path, comment=""):
    """Writes a recipe as YAML, keys in their order, below `comment` lines; the file is replaced as a whole."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    text = yaml.dump(recipe, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with files.replaced(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write(lines + text)


def arguments_of(recipe, call):
    """Returns the part of a recipe that is arguments of `call`."""
    names = inspect.signature(call).parameters
    return {key: value for key, value in recipe.items() if key in names}


def parted(recipe, call):
    """Returns the part of a recipe that is no argument of `call`, and the part that is."""
    arguments = arguments_of(recipe, call)
    return {key: value for key, value in recipe.items() if key not in arguments}, arguments


def without_defaults(recipe, calls):
    """Returns the recipe but for empty lists, and for None where that is the default of `calls`."""
    defaults = {name: value for call in calls for name, value in registry.defaults(call).items()}
    kept = {key: value for key, value in recipe.items() if value is not None or defaults.get(key) is not None}
    return {key: value for key, value in kept.items() if value != []}


def fill(recipe, values):
    """Returns the recipe with the value of each path in `values`, a dict such as `{"method.blocks": 4}`.

    The value of `variant` is a dict: the arguments that belong together there take the place of the recipe's.
    """
    filled = copy.deepcopy(recipe)
    for path, value in values.items():
        _assign(filled, path, value)
    return filled | copy.deepcopy(filled.pop(VARIANT)) if VARIANT in values else filled


def ranges(recipe, origin="recipe"):
    """Returns the ranges in a recipe by their paths: `{"learning_rate": {"min": 1e-5, "max": 1e-4}, …}`.

    A range is `{choice: [a, b]}` or `{min: a, max: b}`, the latter with `sampling: linear | log` and `step` if need be.
    That of `variant` chooses among dicts of arguments.

    Raises: UserError for ranges that cannot be, all in one.
    """
    found = dict(_ranges_within(recipe, ()))
    registry.raise_if([f"{origin}: {problem}" for problem in _range_problems(found)])
    return found


def variants(recipe):
    """Returns the dicts that `variant` of a checked recipe chooses among, or an empty list."""
    return recipe[VARIANT]["choice"] if VARIANT in recipe else []


def check(recipe, calls, origin="recipe"):
    """Compares every key with the arguments of what it is for. Ranges are checked for each of their choices.

    Args:
        recipe: dict.
        calls: sequence of the callables whose arguments a recipe holds: `FineTuner` and `FineTuner.fit`.
        origin: str. What messages call the recipe.

    Raises: UserError with all errors at once, each with its key path and the nearest name.
    """
    registry.raise_if([f"{origin}: {problem}" for problem in dict.fromkeys(_problems(recipe, calls))])


def _problems(recipe, calls):
    if VARIANT in recipe:
        return _variant_problems(recipe, calls)
    task, problems = _task_of(recipe)
    problems += _range_problems(dict(_ranges_within(recipe, ())))
    needed, allowed = [], list(task)
    for call in calls:
        found = parameters(call)
        allowed += [name for name in found if name not in allowed]
        needed += [name for name, needs in found.items() if needs and name not in recipe]
    if task or "task" not in recipe:
        problems += [_unknown(key, recipe[key], allowed) for key in recipe if key not in allowed]
    problems += [f"{name} is missing. Received: {', '.join(map(str, recipe)) or 'no keys'}" for name in needed]
    beside = {name: recipe[name] for name in task if name in recipe}  # Arguments of the task may stand there.
    for key in PLUGINS:
        value = recipe.get(key)
        if key == "task" and beside:
            value = {**({"name": value} if isinstance(value, str) else value), **beside}
        problems += _plugin_problems(key, key, value)
    return problems


def _variant_problems(recipe, calls):
    """Returns what is wrong with the recipe that each of its variants makes."""
    rest = {key: value for key, value in recipe.items() if key != VARIANT}
    given = recipe[VARIANT]
    variants = given.get("choice") if isinstance(given, dict) and list(given) == ["choice"] else None
    if not isinstance(variants, list) or not variants or not all(isinstance(part, dict) for part in variants):
        return [f"variant: it is {{choice: [{{…}}, {{…}}]}}, dicts of arguments. Received: {_brief(given)}"]
    inside = {key for part in variants for key in part}
    fixed = [key for key in (*DATA, "validation_split") if key in inside]
    fixed += ["task"] if "task" in inside and "task" not in rest else []
    problems = [f"variant: {key} must stand beside it, the same for all. Received: {_brief(given)}" for key in fixed]
    return problems + [problem for part in variants for problem in _problems({**rest, **part}, calls)]


def _task_of(recipe):
    """Returns the arguments of the recipe's task, and what is wrong with its name."""
    task = recipe.get("task")
    name = task.get("name") if isinstance(task, dict) else task
    try:
        return (parameters(registry.find("tasks", name)) if isinstance(name, str) else {}), []
    except UserError as error:
        return {}, [f"task: {error}"]


def _plugin_problems(key, path, value):
    """Returns what is wrong with a plug-in's name or arguments at `path`."""
    if isinstance(value, dict) and isinstance(value.get("choice"), list) and "name" not in value:
        return [problem for choice in value["choice"] for problem in _plugin_problems(key, path, choice)]
    if isinstance(value, list):
        parts = [] if key in DATA else enumerate(value)
        return [problem for i, part in parts for problem in _plugin_problems(key, f"{path}.{i}", part)]
    if isinstance(value, str) and key not in DATA:
        value = {"name": value}
    if not isinstance(value, dict):
        return []
    if "name" not in value:
        return [f"{path}.name is missing. Received: {_brief(value)}"]
    return _argument_problems(key, path, value)


def _argument_problems(key, path, value):
    folder, verb = PLUGINS[key]
    name = value["name"]
    elsewhere = {"optimizer": True, "distribution": name in ("auto", "none")}  # Keras has optimizers of its own.
    if name not in registry.names(folder) and elsewhere.get(key):
        return []
    try:
        allowed = parameters(registry.find(folder, name, verb))
    except UserError as error:
        return [f"{path}: {error}"]
    problems = [_unknown(f"{path}.{k}", v, allowed, k) for k, v in value.items() if k not in ("name", *allowed)]
    missing = [k for k, needs in allowed.items() if needs and k not in value and k not in SUPPLIED]
    return problems + [f"{path}.{k} is missing: {name} needs it. Received: {_brief(value)}" for k in missing]


def _unknown(path, value, allowed, key=None):
    close = nearest(key or path, allowed)
    listed = close or f" It can be: {', '.join(allowed) or 'nothing'}."
    return f"{path}: there is no such argument.{listed} Received: {key or path}={_brief(value)}"


def _ranges_within(value, path):
    is_range = isinstance(value, dict) and value and path and all(key in RANGE_KEYS for key in value)
    if is_range:
        yield ".".join(path), value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _ranges_within(part, (*path, str(key)))
    elif isinstance(value, list) and path[0] not in DATA:
        for number, part in enumerate(value):
            yield from _ranges_within(part, (*path, str(number)))


def _range_problems(found):
    return [f"{path}: {problem}" for path in found if (problem := _range_problem(found[path]))]


def _range_problem(found):
    if "choice" in found:
        choices = found["choice"]
        is_right = len(found) == 1 and isinstance(choices, list) and len(choices) > 0
        is_right = is_right and not any(_ranges_within(choices, ("choice",)))
        return None if is_right else f"a choice is a list of values: {{choice: [a, b]}}. Received: {_brief(found)}"
    low, high, step = found.get("min"), found.get("max"), found.get("step", 1)
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in (low, high, step)) or not low < high:
        return f"a range is {{min: a, max: b}} with two numbers, a below b. Received: {_brief(found)}"
    sampling = found.get("sampling", "linear")
    if sampling not in ("linear", "log"):
        return f"sampling is linear or log.{nearest(sampling, ('linear', 'log'))} Received: sampling={sampling!r}"
    if sampling == "log" and (low <= 0 or (step <= 1 and "step" in found)):
        return f"with log, min must be above 0, and a step is a factor above 1. Received: {_brief(found)}"
    return None if step > 0 else f"step must be above 0. Received: step={step!r}"


def _assign(recipe, path, value):
    *parents, last = path.split(".")
    node = recipe
    for depth, key in enumerate(parents):
        node = _opened(node, key, path, is_named=parents[0] in PLUGINS and parents[0] not in DATA, depth=depth)
    if isinstance(node, list):
        node[_position(node, last, path)] = value
    else:
        node[last] = value


def _opened(node, key, path, is_named, depth):
    """Returns the dict or list at `key`, made of a bare name or of nothing where need be."""
    key = _position(node, key, path) if isinstance(node, list) else key
    child = node[key] if isinstance(node, list) else node.get(key)
    if child is None or (isinstance(child, str) and is_named):
        child = node[key] = {} if child is None else {"name": child}
    if not isinstance(child, (dict, list)):
        parts = ".".join(path.split(".")[: depth + 1])
        raise UserError(f"{parts} is {child!r}, which has no parts to set; set it as a whole. Received: {path}=…")
    return child


def _position(items, key, path):
    if not (key.isdigit() and int(key) < len(items)):
        raise UserError(f"{path}: the list there has {len(items)} items, counted from 0. Received: {key!r}")
    return int(key)


def _text(path):
    if os.path.isdir(path):
        raise UserError(f"This is a folder; name the recipe in it. Received: {os.fspath(path)!r}")
    try:
        if os.path.getsize(path) > MAX_BYTES:
            size = f"{os.path.getsize(path):,} bytes"
            raise UserError(f"{path}: a recipe may have {MAX_BYTES:,} bytes at most. Received: {size}")
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        folder, name = os.path.split(os.path.abspath(path))
        beside = os.listdir(folder) if os.path.isdir(folder) else []
        raise UserError(f"There is no such recipe.{nearest(name, beside)} Received: {os.fspath(path)!r}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}). Received: {os.fspath(path)!r}") from None


def _line(text, mark):
    lines = text.splitlines()
    return lines[mark.line].strip()[:80] if mark and mark.line < len(lines) else ""


def _brief(value):
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def slug(arguments):
    """Returns a name for a run of these arguments of FineTuner: task, backbone and method, as a folder's name."""
    words = (arguments["task"], arguments["backbone"], arguments["method"])
    words = [word.get("name", "") if isinstance(word, dict) else word for word in words]
    words = [word if isinstance(word, str) else getattr(word, "name", type(word).__name__) for word in words]
    joined = "_".join(os.path.basename(word.rstrip("/")) for word in words)
    return re.sub(r"[^A-Za-z0-9]+", "_", joined).strip("_").lower()
