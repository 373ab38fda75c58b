import types

import pytest


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    monkeypatch.setattr("kerasft.training.checkpoint.SECONDS", 0)


@pytest.fixture(scope="module")
def session(make_tiny, tmp_path_factory):
    """A function that returns a new tiny classifier, its task and examples of two classes: `session(dropout=0.1)`."""
    from kerasft import methods
    from kerasft.data import base as data_sources
    from kerasft.model import FineTunedModel
    from kerasft.tasks.text_classification import TextClassification

    words = {"positive": ["good", "great", "witty"], "negative": ["bad", "dull", "slow"]}
    rows = [{"text": f"a {w} film", "label": label} for _ in range(4) for label in words for w in words[label]]
    found = {}

    def make(dropout=0.0):
        pretrained = make_tiny("bert", dropout=dropout)
        task = TextClassification(labels=["negative", "positive"], dropout=dropout)
        if not found:
            frame = task.prepare(data_sources.load(rows))
            found["examples"] = task.examples(frame, task.preprocessor(pretrained))
        model = FineTunedModel(pretrained.backbone, task.head(pretrained))
        model.set_seed(0)
        for weight in model.head.weights:
            weight.assign(weight * 0)
        methods.Full().apply(model)
        directory = str(tmp_path_factory.mktemp("run"))
        return types.SimpleNamespace(model=model, task=task, examples=found["examples"], directory=directory)

    return make
