import numpy as np
import pytest

from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner

TEXTS = ["a good film", "the plot is bad"]
PAIRS = [{"text": f"a {word} film", "text_pair": f"so {word}"} for word in ("good", "bad", "warm", "dull")]


@pytest.fixture
def source(make_tiny, tmp_path):
    pretrained, folder = make_tiny("bert"), str(tmp_path / "source")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)
    return folder


@pytest.mark.parametrize("method", ["full", "lora", "ia3", "qlora"])
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
