"""Keras configs: what classes they name, how many, and where they would read from."""

import re

from kerasft.inspection.limits import ENTRIES, NAME_LENGTH, refused

LAYERS = ENTRIES
# Where the classes and functions of a model come from. Keras's own loading, saving, files and settings are not here.
KERAS_PARTS = (
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models", "ops"),
    *("optimizers", "quantizers", "random", "regularizers"),
)
MODULES = re.compile(
    rf"builtins|keras|keras(\.src)?\.({'|'.join(KERAS_PARTS)})(\.\w+)*|keras\.src\.applications\.\w+|"
    r"keras_(hub|cv|nlp)(\.\w+)*|kerasft\.presets\._\w+"
)
# Functions of these load and build; those that a layer calls, such as activations, come from elsewhere.
NO_FUNCTIONS = re.compile(r"keras(\.src)?\.(applications|layers|models)\b.*")
PACKAGES = ("keras", "keras_hub", "keras_nlp", "keras_cv", "keras_cv.models", "kerasft")
# They run code that the file brings, or read another file.
REFUSED = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__")
ELSEWHERE = re.compile(r"[/~\\]|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://")
VOCABULARIES = ("vocabulary", "merges", "proto", "file", "path", "filename", "filepath")
# Keys that say how often something with weights is repeated, such as `num_layers` or `stackwise_num_repeats`, but not
# Qwen2's `max_window_layers`, whose default of 28 small models keep.
COUNTS = re.compile(r"(^|(?<!max_window)_)(layers|depths?|repeats|blocks|experts|stages)$")
SIDES = ("rank", "width", "length")  # Arguments of methods that are a side of a weight.
OWN = "load such a file in code of yours and give the object: backbone=model"


def check(config, origin):
    """Raises UserError unless a Keras config names only classes of Keras, its companions and kerasft, and no files.

    Args:
        config: dict. Of a model or layer, as `keras.saving.serialize_keras_object` makes it or an `.h5` file holds it.
        origin: what messages call it.
    """
    if not isinstance(config, dict):
        raise refused(origin, "a Keras config is a JSON object", config)
    layers, waiting = 0, [("", config)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            _check_text(key, value, origin)
        elif isinstance(value, list):
            layers += len(value) if key == "layers" else 0
            if layers > LAYERS:
                raise refused(origin, f"a model may have {LAYERS:,} layers at most", f"{layers:,}")
            # The texts of a list are the words of a vocabulary and the like; `/` may be one of them.
            waiting += [(key, part) for part in value if isinstance(part, (dict, list))]
        elif isinstance(value, dict):
            _check_class(value, origin)
            waiting += value.items()


def check_counts(config, stored, origin):
    """Raises UserError if a config repeats its blocks more often than there are arrays for their weights.

    Building so many blocks would take hours, with nothing in memory to show for it.

    Args:
        config: dict. Of Keras or of Hugging Face.
        stored: int. Number of arrays in the files of weights.
    """
    for key, value in _leaves(config):
        if _is_number(value) and value > stored and COUNTS.search(str(key)):
            raise refused(origin, f"there are only {stored:,} arrays of weights", f"{key}={value:,}")


def check_sides(arguments, shapes, origin):
    """Raises UserError if a size in these arguments is above the longest side of all weights that a file holds.

    Args:
        arguments: dict, list or plain value: of a method.
        shapes: iterable of shapes.
        origin: what messages call it.
    """
    longest = max((side for shape in shapes for side in shape), default=0)
    for key, value in _leaves(arguments):
        if key in SIDES and isinstance(value, (int, float)) and value > longest:
            raise refused(origin, f"no weight in the file has a side longer than {longest:,}", f"{key}={value:,}")


def _leaves(value):
    """Yields `(key, value)` of all that is no dict and no list, however deep; parts of a list have its key."""
    waiting = [("", value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, part) for part in value]
        else:
            yield key, value


def _check_text(key, value, origin):
    if key == "name" and (len(value) > NAME_LENGTH or re.search(r"^/|\.\.|\\|\0", value)):
        raise refused(origin, f"a name has no '..', no backslash, no '/' in front and {NAME_LENGTH:,} letters", value)
    if ELSEWHERE.match(value) or (key in VOCABULARIES and value):
        raise refused(origin, f"a config names no files ({key}); {OWN}", value)


def _check_class(value, origin):
    if any(len(key) > NAME_LENGTH for key in value):
        raise refused(origin, f"a key may have {NAME_LENGTH:,} characters at most", max(value, key=len))
    name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
    named = [word for word in (name, registered) if word is not None]
    if not all(isinstance(word, str) for word in named) or (module is not None and not isinstance(module, str)):
        if "config" in value:
            raise refused(origin, "class_name, module and registered_name must be strings", named)
        return
    for word in named:
        package, arrow, short = word.rpartition(">")
        if short in REFUSED:
            raise refused(origin, f"{short} runs code or reads files that the model brings; {OWN}", short)
        if arrow and package not in PACKAGES:
            raise refused(origin, f"only classes of {', '.join(PACKAGES)} are built; {OWN}", word)
    if name is not None and module is not None and not MODULES.fullmatch(module):
        raise refused(origin, f"only modules of Keras, KerasHub and KerasCV that make models are used; {OWN}", module)
    if name == "function" and NO_FUNCTIONS.fullmatch(module or ""):
        raise refused(origin, f"a layer calls no function that builds models; {OWN}", f"{module}.{value.get('config')}")


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
