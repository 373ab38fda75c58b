import types

import numpy as np
import pytest

from benchmarks import limit
from kerasft.model import FineTunedModel
from kerasft.tasks.text_classification import TextClassification


class Examples(types.SimpleNamespace):
    def __len__(self):
        return len(self.lengths)


def test_the_multiplications_of_a_forward_pass(make_tiny):
    """Two rows of two tokens: one block whole, of the second keys and values, and attention between all tokens."""
    pretrained = make_tiny("bert")
    task = TextClassification(labels=["a", "b"], pooling="pooled")
    network = FineTunedModel(pretrained.backbone, task.head(pretrained))
    preprocessor = types.SimpleNamespace(fixed_width=None, sequence_length=128)
    examples = Examples(lengths=np.array([2, 2]), preprocessor=preprocessor, views=1, draws=None)
    sizes = limit.Model(width=16, inner=32, batch=2, positions=4, saved=0.75, shares=False)
    kernels = 4 * 16 * 16 + 2 * 16 * 32
    expected = 2 * 4 * kernels + 2 * 4 * 2 * 16 * 16 + 2 * 2 * (2 * 2 * 2 * 16)
    assert limit.forward_gigaflop(network, examples, sizes) == pytest.approx(expected / 1e9)


def test_what_rows_begin_with():
    tokens, offsets = np.array([1, 2, 3, 4, 1, 2, 5, 1, 2, 3]), np.array([0, 4, 7, 10])
    examples = Examples(token_ids=tokens, offsets=offsets, lengths=np.diff(offsets))
    assert limit.beginning(examples, np.array([0, 1])) == 2
    assert limit.beginning(examples, np.array([0, 2])) == 3
    assert limit.beginning(examples, np.array([1])) == 3
