"""Finds plug-ins by file name: the folder is the list, and there is no second one.

A plug-in is a file in one of the plug-in folders. It holds either a class named after the file
(`methods/linear_probe.py` -> `LinearProbe`) or a function with the folder's verb (`data/csv.py` ->
`read`). Files that begin with an underscore, and `base.py`, are not plug-ins.
"""

import importlib
import inspect
import pkgutil

from kerasft.errors import UserError, nearest


def names(folder):
    """Returns the plug-in names of `kerasft/<folder>/`, sorted."""
    package = importlib.import_module(f"kerasft.{folder}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def find(folder, name, verb=None):
    """Returns the class named after the file `kerasft/<folder>/<name>.py`, or its function `verb`.

    Raises: UserError if there is no such file; it lists the ones there are and the nearest.
    """
    allowed = names(folder)
    if name not in allowed:
        raise UserError(
            f"kerasft/{folder}/ has no {name!r}.{nearest(name, allowed)} It has: {', '.join(allowed)}. "
            f"Received: {name!r}"
        )
    module = importlib.import_module(f"kerasft.{folder}.{name}")
    return getattr(module, verb) if verb else _class_of(module, name)


def get(folder, identifier):
    """Turns a name, a `{"name": …, arguments}` dict or an object into an object.

    Args:
        folder: str. Plug-in folder, such as `"methods"`.
        identifier: str, dict, or an object that is returned as it is.

    Raises: UserError if the name or an argument is unknown.
    Example: >>> registry.get("methods", {"name": "freeze", "blocks": 4})
    """
    if isinstance(identifier, str):
        identifier = {"name": identifier}
    if not isinstance(identifier, dict):
        return identifier
    if "name" not in identifier:
        raise UserError(f"A {folder} dict needs the key 'name'. Received: {identifier!r}")
    arguments = {key: value for key, value in identifier.items() if key != "name"}
    plugin = find(folder, identifier["name"])
    raise_if(argument_errors(plugin, arguments, where=f"{folder}/{identifier['name']}"))
    return plugin(**arguments)


def listed(folder, identifiers):
    """Returns the list of identifiers for `get`, of None an empty one. Raises UserError for what is no list."""
    if not isinstance(identifiers, (list, tuple, type(None))):
        raise UserError(f"{folder} must be a list. Received: {folder}={identifiers!r}")
    return list(identifiers or ())


def describe(plugin):
    """Returns the `{"name": …, arguments}` dict of which `get` makes an equal object, or None if that cannot be.

    The arguments come from `get_config`, or are attributes of the same names, as in every plug-in.
    """
    package, *rest = type(plugin).__module__.split(".")
    if package != "kerasft" or len(rest) != 2 or rest[1] not in names(rest[0]):
        return None
    if hasattr(plugin, "get_config"):
        return {"name": rest[1], **plugin.get_config()}
    return {"name": rest[1], **{name: getattr(plugin, name) for name in parameters(type(plugin))}}


def argument_errors(function, arguments, where):
    """Returns one message for each key of `arguments` that `function` does not take or misses."""
    allowed = parameters(function)
    errors = [
        f"{where} has no argument {key!r}.{nearest(key, allowed)} It takes: {', '.join(allowed) or 'none'}. "
        f"Received: {key}={value!r}"
        for key, value in arguments.items()
        if key not in allowed
    ]
    needed = [name for name, is_needed in allowed.items() if is_needed and name not in arguments]
    return errors + [f"{where} needs the argument {name!r}. Received: {arguments!r}" for name in needed]


def parameters(call):
    """Returns `{name: is it required}` of what `defaults` returns."""
    return {name: default is inspect.Parameter.empty for name, default in defaults(call).items()}


def defaults(call):
    """Returns `{name: default}` of a function's or class's arguments, or of all that `**kwargs` leads up to.

    One that is required has `inspect.Parameter.empty`.
    """
    owners = call.__mro__[:-1] if inspect.isclass(call) else [call]
    found = {}
    for owner in owners:
        function = owner.__dict__.get("__init__") if inspect.isclass(call) else owner
        if function is None:
            continue
        signature = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        for p in signature:
            if p.name != "self" and p.kind not in kinds:
                found.setdefault(p.name, p.default)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature):
            break
    return found


def all_of(*calls):
    """Returns what each call returns, or raises one UserError with the messages of all that failed."""
    made, errors = [], []
    for call in calls:
        try:
            made.append(call())
        except UserError as error:
            errors.append(str(error))
    raise_if(errors)
    return made


def raise_if(errors):
    """Raises one UserError that holds all messages, or does nothing when there are none."""
    if errors:
        raise UserError("\n".join(errors))


def lazy(package):
    """Returns a module `__getattr__` that finds `LinearProbe` in `linear_probe.py` on first use."""
    folder = package.removeprefix("kerasft.")

    def __getattr__(attribute):
        for name in names(folder):
            if name.replace("_", "") == attribute.lower():
                return find(folder, name)
        raise AttributeError(f"module {package!r} has no attribute {attribute!r}")

    return __getattr__


def _class_of(module, name):
    wanted = name.replace("_", "")
    for attribute, value in vars(module).items():
        if inspect.isclass(value) and attribute.lower() == wanted and value.__module__ == module.__name__:
            return value
    raise TypeError(f"{module.__name__} must hold a class named after the file, such as {wanted.title()}")
