import numpy as np
import pytest

from kerasft.callbacks import Swa
from kerasft.errors import UserError
from tests.callbacks.averages import Record, X, Y, assert_equal, fit, make, values


def test_it_is_the_mean_of_the_ends_of_epochs():
    model, record = make(), Record()
    fit(model, Swa(start=2), record, epochs=4)
    ends = record.steps[2::3]
    assert len(ends) == 4
    assert_equal(record.validated[0], ends[0])  # The first epoch does not count.
    for number in (2, 3, 4):
        for position, ours in enumerate(record.validated[number - 1]):
            expected = np.mean([end[position] for end in ends[1:number]], axis=0)
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
    assert_equal(values(model), record.validated[-1])


def test_an_epoch_counts_once_with_and_without_validation():
    one, two = make(), make()
    fit(one, Swa(1))
    two.fit(X, Y, batch_size=8, epochs=3, shuffle=False, callbacks=[Swa(1)], verbose=0)
    assert_equal(values(one), values(two))


@pytest.mark.parametrize("start", [0, 1.5, True])
def test_a_start_that_cannot_be(start):
    with pytest.raises(UserError, match=rf"start must be a whole number, 1 or more. Received: start={start}"):
        Swa(start)
