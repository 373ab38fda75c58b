import types

import numpy as np
import pytest

from benchmarks import limit


class Examples(types.SimpleNamespace):
    def __len__(self):
        return len(self.lengths)


def test_the_multiplications_of_a_forward_pass():
    """Two rows of two tokens: five blocks whole, of the sixth keys and values, and attention between all tokens."""
    preprocessor = types.SimpleNamespace(fixed_width=None, sequence_length=128)
    examples = Examples(lengths=np.array([2, 2]), preprocessor=preprocessor, views=1)
    kernels = 4 * 384 * 384 + 2 * 384 * 4 * 384
    expected = 2 * 4 * kernels * 5 + 2 * 4 * 2 * 384 * 384 + 5 * 2 * 2 * (2 * 2 * 2 * 384)
    assert limit.forward_gigaflop(examples) == pytest.approx(expected / 1e9)
