"""Nothing in kerasft runs what it reads, and nothing waits for connections: checked on the source, as it is parsed."""

import ast

import pytest

from tests.test_layout import PACKAGE, TREES, dotted, name_of

# The one reader of a pickle: a `pickle.Unpickler` that knows a few harmless globals, over bytes of a pinned SHA-256.
PICKLE_READER = "presets/_torch_pickle.py"
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"),
    *("joblib.load", "torch.load", "marshal.loads", "marshal.load", "pd.read_pickle", "pandas.read_pickle"),
    *("keras.config.enable_unsafe_deserialization", "enable_unsafe_deserialization"),
    *("tf.saved_model.load", "keras.layers.TFSMLayer", "keras.layers.Lambda", "tf.keras.models.load_model"),
    *("socket.create_server", "HTTPServer", "http.server.HTTPServer", "socketserver.TCPServer"),
}
METHODS = {"extractall", "read_pickle", "bind", "listen", "add_insecure_port", "enable_unsafe_deserialization"}
KEYWORDS = {("allow_pickle", True), ("safe_mode", False), ("shell", True), ("trust_remote_code", True)}


def found_in(tree):
    """Yields `(line, what)` of each call that the lists name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in CALLS or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            yield node.lineno, name or node.func.attr
        for word in node.keywords:
            if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in KEYWORDS:
                yield node.lineno, f"{word.arg}={word.value.value}"


def modules_of(tree):
    """Returns the outermost names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_nothing_runs_what_it_reads_or_listens():
    wrong = [f"{name_of(path)}:{line} {what}" for path, tree in TREES.items() for line, what in found_in(tree)]
    assert not wrong, "\n".join(wrong)


def test_only_one_file_knows_pickle():
    assert {name_of(path) for path, tree in TREES.items() if PICKLES & modules_of(tree)} == {PICKLE_READER}


def test_no_file_opens_a_socket():
    assert not [name_of(path) for path, tree in TREES.items() if {"socket", "socketserver"} & modules_of(tree)]


def test_the_reader_of_a_pickle_chooses_what_may_be_named():
    tree = TREES[PACKAGE / PICKLE_READER]
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name.startswith("pickle.")} <= {"pickle.Unpickler", "pickle.UnpicklingError"}
    readers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "pickle.Unpickler" in map(dotted, node.bases)
    ]
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "pickle.Unpickler"]
    assert len(readers) == 1 and not called
    assert "find_class" in {node.name for node in readers[0].body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("np.load(path, allow_pickle=True)", ["allow_pickle=True"]),
        ("keras.saving.load_model(path, safe_mode=False)", ["safe_mode=False"]),
        ("subprocess.run(line, shell=True)", ["shell=True"]),
        ("yaml.load(text, Loader)", ["yaml.load"]),
        ("eval(text)", ["eval"]),
        ("archive.extractall(folder)", ["archive.extractall"]),
        ("server.bind(address)", ["server.bind"]),
        ("np.load(path)", []),
        ("model.compile('sgd')", []),
        ("re.compile(pattern)", []),
    ],
)
def test_the_check_sees_them(source, found):
    assert [what for _, what in found_in(ast.parse(source))] == found
