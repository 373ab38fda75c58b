import pytest

from kerasft import methods, registry
from kerasft.errors import UserError


def test_names_are_the_files_of_the_folder():
    found = registry.names("methods")
    assert {"freeze", "full", "linear_probe"} <= set(found)
    assert found == sorted(found)
    assert "base" not in found
    assert not [name for name in registry.names("tasks") if name.startswith("_")]


def test_a_plugin_is_found_by_name_dict_and_object():
    made = methods.Freeze(blocks=2)
    assert type(registry.get("methods", "freeze")) is methods.Freeze
    assert registry.get("methods", {"name": "freeze", "blocks": 2}).blocks == 2
    assert registry.get("methods", made) is made


def test_the_dict_of_the_user_is_not_changed():
    identifier = {"name": "freeze", "blocks": 2}
    registry.get("methods", identifier)
    assert identifier == {"name": "freeze", "blocks": 2}


def test_a_function_is_found_by_its_verb():
    assert callable(registry.find("data", "csv", "read"))


@pytest.mark.parametrize(
    ("folder", "identifier", "parts"),
    [
        ("methods", "linear-probe", ["no 'linear-probe'", "Did you mean 'linear_probe'?", "freeze, full"]),
        ("methods", {"blocks": 2}, ["needs the key 'name'", "{'blocks': 2}"]),
        ("methods", {"name": "freeze", "block": 2}, ["no argument 'block'", "Did you mean 'blocks'?", "block=2"]),
        ("schedules", "linear", ["needs the argument 'learning_rate'", "needs the argument 'total_steps'"]),
        ("tasks", "base", ["no 'base'"]),
        ("tasks", "_classification", ["no '_classification'"]),
    ],
)
def test_what_is_wrong_is_said(folder, identifier, parts):
    with pytest.raises(UserError) as error:
        registry.get(folder, identifier)
    for part in (*parts, "Received: "):
        assert part in str(error.value)


def test_all_wrong_arguments_are_named_at_once():
    with pytest.raises(UserError) as error:
        registry.get("methods", {"name": "freeze", "a": 1, "b": 2})
    assert len(str(error.value).splitlines()) == 2


def test_arguments_reach_through_keywords_to_the_base_class():
    assert registry.get("tasks", {"name": "text_classification", "multi_label": True}).multi_label


def test_a_wrong_argument_of_a_task_is_a_user_error():
    with pytest.raises(UserError, match="no argument 'sequence_lenght'.*Did you mean 'sequence_length'"):
        registry.get("tasks", {"name": "text_classification", "sequence_lenght": 64})


def test_lazy_modules_find_classes():
    assert methods.LinearProbe is registry.find("methods", "linear_probe")
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        methods.Nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("folder", "identifier"),
    [
        ("methods", {"name": "freeze", "blocks": 3, "embeddings": False, "layers": "query"}),
        ("methods", {"name": "full"}),
        ("tasks", {"name": "text_classification", "labels": ["a", "b"], "pair": True, "dropout": 0.3}),
        ("tasks", {"name": "image_classification", "multi_label": True, "image_size": 64}),
        ("objectives", {"name": "l2_sp", "alpha": 0.2, "beta": 0.0}),
    ],
)
def test_describe_is_the_inverse_of_get(folder, identifier):
    described = registry.describe(registry.get(folder, identifier))
    assert described.items() >= identifier.items()
    assert registry.describe(registry.get(folder, described)) == described


def test_describe_knows_no_objects_of_others():
    class Own(methods.Full):
        pass

    assert registry.describe(Own()) is None
    assert registry.describe(3) is None
