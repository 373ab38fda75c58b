import pytest

from kerasft.errors import UserError, nearest


def test_a_user_error_is_a_value_error():
    with pytest.raises(ValueError, match="wrong"):
        raise UserError("wrong")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lorra", " Did you mean 'lora'?"),
        ("FULL", " Did you mean 'full'?"),
        ("linearprobe", " Did you mean 'linear_probe'?"),
        ("zzz", ""),
        (3, ""),
        (None, ""),
    ],
)
def test_nearest(name, found):
    assert nearest(name, ["full", "lora", "linear_probe"]) == found


def test_nearest_keeps_the_spelling_of_what_is_allowed():
    assert nearest("text", ["Text", "Label"]) == " Did you mean 'Text'?"


def test_nearest_of_nothing():
    assert nearest("full", []) == ""
