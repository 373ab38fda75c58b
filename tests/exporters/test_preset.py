import dataclasses

import keras_hub
import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from tests import families

TEXTS = ["a good film", "the plot is bad"]
PAIRS = [{"text": f"a {word} film", "text_pair": f"so {word}"} for word in ("good", "bad", "warm", "dull")]


@pytest.fixture
def source(make_tiny, tmp_path):
    pretrained, folder = make_tiny("bert"), str(tmp_path / "source")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)
    return folder


SLOWER = [pytest.param(method, marks=pytest.mark.slow) for method in ("full", "ia3", "qlora")]


@pytest.mark.parametrize("method", ["lora", *SLOWER])
def test_another_task_starts_from_what_was_learned(method, source, tmp_path):
    tuner = FineTuner("text_embedding", source, method, learning_rate=5e-2, precision="float32")
    tuner.fit(PAIRS, epochs=2, batch_size=4, directory=tmp_path / "run")
    before = tuner.predict(TEXTS)["embedding"]
    folder = tuner.export(str(tmp_path / "learned"), "preset")
    np.testing.assert_allclose(FineTuner("text_embedding", folder).predict(TEXTS)["embedding"], before, atol=1e-5)
    np.testing.assert_allclose(tuner.predict(TEXTS)["embedding"], before, atol=1e-6)  # It is as it was.
    assert np.abs(FineTuner("text_embedding", source).predict(TEXTS)["embedding"] - before).max() > 1e-4
    other = FineTuner("text_classification", folder, labels=["no", "yes"])
    assert other.predict(TEXTS)["label"].shape == (2,)


def test_a_llama_with_tied_embeddings_comes_back(tmp_path):
    made = families.make("llama3")
    size = made.backbone.vocabulary_size
    backbone = keras_hub.models.Llama3Backbone(size, tie_word_embeddings=True, **families.GROUPED)
    tied = dataclasses.replace(made, backbone=backbone)
    folder = FineTuner("text_classification", tied, labels=["no", "yes"]).export(str(tmp_path / "learned"), "preset")
    of_ours = FineTuner("text_classification", folder, labels=["no", "yes"]).pretrained.backbone
    for again in (of_ours, keras_hub.models.Backbone.from_preset(folder)):
        for new, old in zip(again.get_weights(), backbone.get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)


def test_what_no_preset_has_is_refused(source, tmp_path):
    tuner = FineTuner("text_classification", source, "adapter", labels=["no", "yes"])
    with pytest.raises(
        UserError, match="A preset has no adapter: only lora and ia3 can be merged. Received: 'adapter'"
    ):
        tuner.export(str(tmp_path / "learned"), "preset")
    assert not (tmp_path / "learned").exists()


def test_a_folder_that_exists_is_refused(source):
    tuner = FineTuner("text_classification", source, labels=["no", "yes"])
    with pytest.raises(UserError, match="There is something already"):
        tuner.export(source, "preset")
