import numpy as np
import pytest


class Case:
    """Random labels, logits and weights, with the edges that metrics trip over: ties, rare and absent classes."""

    def __init__(self, seed, multi_label=False):
        rng = np.random.default_rng(seed)
        rows, self.classes = int(rng.integers(1, 60)), int(rng.integers(2, 7))
        if multi_label:
            self.targets = (rng.random((rows, self.classes)) < rng.random(self.classes)).astype("int32")
        else:
            share = rng.dirichlet(np.full(self.classes, rng.choice([0.3, 5.0])))
            self.targets = rng.choice(self.classes, size=rows, p=share).astype("int32")
        self.logits = rng.normal(scale=rng.choice([0.1, 1.0, 5.0]), size=(rows, self.classes)).astype("float32")
        if seed % 3 == 0:  # repeated rows: equal scores under different labels
            self.logits = self.logits[rng.integers(0, max(1, rows // 3), size=rows)]
        kind = seed % 4
        self.weights = {
            0: None,
            1: rng.random(rows).astype("float32"),
            2: rng.integers(0, 2, size=rows).astype("float32"),
            3: rng.integers(0, 4, size=rows).astype("float32"),
        }[kind]
        self.batch = int(rng.integers(1, rows + 1))

    def stream(self, metric):
        """Feeds the metric batch by batch and returns its result."""
        for start in range(0, len(self.targets), self.batch):
            rows = slice(start, start + self.batch)
            weights = None if self.weights is None else self.weights[rows]
            metric.update_state(self.targets[rows], self.logits[rows], sample_weight=weights)
        return np.asarray(metric.result())

    def counted(self):
        """Returns targets, float64 logits and weights of the rows whose weight is not 0, for scikit-learn."""
        weights = np.ones(len(self.targets)) if self.weights is None else self.weights.astype("float64")
        kept = weights > 0
        return self.targets[kept], self.logits[kept].astype("float64"), weights[kept]


@pytest.fixture
def case():
    """The class of random cases: `case(seed, multi_label=False)`."""
    return Case
