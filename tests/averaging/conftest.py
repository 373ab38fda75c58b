import numpy as np
import pytest

from kerasft import weights
from kerasft.fine_tuner import FineTuner

WORDS = {"positive": ["good", "great", "witty"], "negative": ["bad", "dull", "slow"]}
ROWS = [{"text": f"a {w} film {i}", "label": label} for i in range(2) for label in WORDS for w in WORDS[label]]


@pytest.fixture(scope="module")
def preset(make_tiny, tmp_path_factory):
    """The folder of a tiny text encoder: a backbone with a name, so that runs are saved as deltas."""
    folder = str(tmp_path_factory.mktemp("preset"))
    pretrained = make_tiny("bert")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def make_run(preset, tmp_path_factory):
    """A function that writes a run whose learned weights are moved at random, and returns its folder."""

    tuners, written = {}, {}

    def tuner_of(method, arguments):
        """Returns a FineTuner, built once, and its learned weights as they were."""
        key = repr((method, arguments))
        if key not in tuners:
            given = {"labels": ["negative", "positive"], "backbone": preset, **arguments}
            made = FineTuner("text_classification", method=method, **given)
            tuners[key] = made, {path: v.numpy().copy() for path, v in weights.learned(made.model).items()}
        return tuners[key]

    def make(seed, method="full", noise=0.1, **arguments):
        key = repr((seed, method, noise, arguments))
        if key in written:
            return written[key]
        tuner, begin = tuner_of(method, arguments)
        random = np.random.default_rng(seed)
        for path, variable in weights.learned(tuner.model).items():
            variable.assign(begin[path] + random.normal(0, noise, variable.shape))
        tuner.arguments.update(seed=seed, learning_rate=0.01 * (seed + 1))
        tuner.fit_arguments = {"data": "train.csv", "epochs": 2}
        written[key] = str(tmp_path_factory.mktemp("runs") / f"run{seed}")
        tuner.save(written[key])
        return written[key]

    return make
