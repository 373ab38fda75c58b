import pytest

from kerasft.data import _in_file


@pytest.fixture(scope="module", params=["in memory", "in the file"])
def place(request):
    """Where the values of tables are."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in the file":
            patch.setattr(_in_file, "LEAST", 0)
            patch.setattr(_in_file, "FEW", -1)
        yield request.param
