"""What every objective relies on: its term is added while training, shown under its name, and anew each epoch."""

import keras
import numpy as np
import pandas as pd
import pytest

from kerasft.methods.base import Stage
from kerasft.model import FineTunedModel
from kerasft.objectives.base import Objective
from kerasft.tasks.text_classification import TextClassification
from kerasft.training import fit


class Steps(Objective):
    """The number of the step, times a factor: each epoch's mean is known beforehand."""

    def __init__(self, name, factor):
        self.name = name
        self.factor = factor
        self.attached = []

    def attach(self, model):
        self.attached.append(len(model.trainable_weights))

    def __call__(self, model, x, y, y_pred, extra=None):
        return self.factor * keras.ops.cast(model.optimizer.iterations, "float32")


@pytest.fixture
def train(tiny_bert, reviews, tmp_path):
    """A function that trains a tiny classifier with these objectives and returns the history: 2 steps an epoch."""

    def run(objectives, stages=None):
        task = TextClassification(dropout=0.0)
        examples = task.examples(task.prepare(pd.DataFrame(reviews)), task.preprocessor(tiny_bert))
        keras.utils.set_random_seed(1)
        model = FineTunedModel(tiny_bert.backbone, task.head(tiny_bert), objectives)
        directory = str(tmp_path / str(len(objectives)))
        settings = fit.Settings("sgd", None, 0.0, epochs=2, batch_size=8, seed=0, directory=directory)
        stages = stages or [Stage("all", 2, lambda model: None)]
        return fit.fit(model, task, stages, (examples, examples), settings, list).history

    return run


def test_terms_are_part_of_the_loss_and_of_history(train):
    plain, both = train([]), train([Steps("one", 10.0), Steps("two", 20.0)])
    np.testing.assert_allclose(both["one"], [5.0, 25.0], rtol=1e-6)  # Steps 0 and 1, then 2 and 3.
    np.testing.assert_allclose(both["two"], [10.0, 50.0], rtol=1e-6)
    np.testing.assert_allclose(np.subtract(both["loss"], plain["loss"]), [15.0, 75.0], atol=0.1)  # Dropout differs.
    np.testing.assert_allclose(both["val_loss"], plain["val_loss"], rtol=1e-5)
    assert set(both) == {"one", "two", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_each_stage_attaches_after_the_choice_of_what_learns(train):
    def only_head(model):
        for layer in model.layers:
            layer.trainable = layer is model.head

    def everything(model):
        for layer in model.layers:
            layer.trainable = True

    objective = Steps("steps", 0.0)
    train([objective], [Stage("head", 1, only_head), Stage("all", 1, everything)])
    first, second = objective.attached
    assert first == 2  # Kernel and bias of the head.
    assert second > first
