import types

import numpy as np
import pandas as pd
import pytest

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.objectives import Mixup, PseudoLabels
from kerasft.objectives.pseudo_labels import Unlabelled


@pytest.fixture
def rows(batch):
    """Three unlabelled texts."""
    return {name: values[[1, 3, 5]] for name, values in batch.texts.items()}


def probabilities(model, x):
    logits = model(x).numpy().astype("float64")
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_sure_rows_are_trained_on_with_the_class_they_are_given(make_model, rows):
    model = make_model()
    p = probabilities(model, rows)
    sure = p.max(-1)
    threshold = float(np.median(sure))  # Two of the three are at or above it.
    found = PseudoLabels("more.csv", threshold - 1e-6, weight=0.5)(model, None, None, None, rows)
    losses = -np.log(sure) * (sure >= threshold - 1e-6)
    assert float(found) == pytest.approx(0.5 * losses.mean(), rel=1e-4)


def test_the_class_is_predicted_without_dropout_and_trained_on_with(make_model, rows):
    model = make_model(dropout=0.5)
    p = probabilities(model, rows)
    found = float(PseudoLabels("more.csv", 0.0)(model, None, None, None, rows))
    assert found != pytest.approx(-np.log(p.max(-1)).mean(), rel=1e-3)
    model = make_model()
    assert float(PseudoLabels("more.csv", 0.0)(model, None, None, None, rows)) == pytest.approx(
        -np.log(probabilities(model, rows).max(-1)).mean(), rel=1e-4
    )


def test_unlabelled_rows_are_not_mixed(make_model, batch, rows):
    objective, mixing = PseudoLabels("more.csv", 0.0), Mixup()
    model = make_model(mixing)
    plain = float(objective(model, None, None, None, rows))
    with mixing.forward(model, batch.texts, batch.targets):
        assert float(objective(model, None, None, None, rows)) == plain


def test_each_batch_has_as_many_rows_chosen_by_it(tiny_bert, reviews):
    texts = [{"text": f"{word} film"} for word in ("good", "bad", "dull", "warm", "a very very moving")]
    tuner = FineTuner(
        "text_classification", tiny_bert, labels=["negative", "positive"], objectives=[PseudoLabels(texts)]
    )
    (objective,) = tuner.objectives
    objective.prepare(tuner, tuner.task.prepare(pd.DataFrame(reviews)))
    first = objective.extra.gather(np.arange(4))
    assert len(first["token_ids"]) == 4 and set(first) == set(objective.extra.signature)
    np.testing.assert_array_equal(first["token_ids"], objective.extra.gather(np.arange(4))["token_ids"])
    others = [objective.extra.gather(np.arange(i, i + 4))["token_ids"].tolist() for i in range(8)]
    assert any(other != others[0] for other in others)


def test_rows_of_a_batch_are_of_like_length_and_each_is_drawn_as_often(tiny_bert):
    tuner = FineTuner("text_classification", tiny_bert, labels=["negative", "positive"])
    texts = [{"text": " ".join(["good"] * (1 + number % 20))} for number in range(60)]
    unlabelled = Unlabelled(tuner.unlabelled(texts), seed=0)
    drawn = [unlabelled.gather(np.arange(i, i + 4))["token_ids"] for i in range(400)]
    lengths = [(rows != 0).sum(-1) for rows in drawn]
    assert np.mean([batch.max() - batch.min() for batch in lengths]) < 4  # At random it would be about 13.
    counts = np.unique(np.concatenate(lengths), return_counts=True)[1]
    assert len(counts) == 20 and counts.min() > 40 and counts.max() < 140  # 80 of each, but for chance.


def test_several_labels_a_row_are_refused():
    task = types.SimpleNamespace(targets=lambda frame: np.zeros((4, 3)))
    with pytest.raises(UserError, match="pseudo_labels needs one label a row"):
        PseudoLabels("more.csv").prepare(types.SimpleNamespace(task=task), None)


@pytest.mark.parametrize("arguments", [{"threshold": 1.5}, {"weight": -1}])
def test_wrong_arguments_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f"pseudo_labels: {name} must be 0 or more"):
        PseudoLabels("more.csv", **arguments)
