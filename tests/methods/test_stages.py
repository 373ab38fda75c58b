import keras
import numpy as np
import pytest

import kerasft
from kerasft import deltas, recipe, registry, run_folder, weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.methods import LoRA, Stages
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead

HEAD = {"head/logits/kernel", "head/logits/bias"}
PROBE_THEN_LORA = [{"method": "linear_probe", "epochs": 1}, {"method": "lora"}]


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def started(model, stages, epochs):
    """Returns the stages of a method after `attach`, and the method."""
    method = Stages(stages)
    method.attach(model)
    method.apply(model)
    return method.stages(model, epochs), method


def learning(model):
    return {weight.path.split("/")[-2] for weight in model.trainable_weights}


def test_each_with_its_epochs_and_rate(model):
    stages = [
        {"method": "linear_probe", "epochs": 1},
        {"method": "lora", "epochs": 2, "learning_rate": 0.01},
        {"method": {"name": "lp_ft", "probe_epochs": 1}},
    ]
    found, method = started(model, stages, epochs=8)
    assert [stage.epochs for stage in found] == [1, 2, 1, 4]
    assert [stage.learning_rate for stage in found] == [5e-3, 0.01, 5e-3, None]
    assert not any(stage.continues for stage in found)
    assert method.learning_rate == {"text": 5e-5, "image": 5e-4}


def test_one_kind_of_delta_belongs_to_one_stage(model):
    with pytest.raises(UserError, match="takes a lora once. Received: a second one for transformer_layer_0/"):
        started(model, [{"method": "lora", "epochs": 1}, {"method": {"name": "lora", "rank": 4}}], epochs=2)


def test_each_trains_what_its_method_does_and_no_weights_of_others(model):
    stages = [{"method": name, "epochs": 1} for name in ("lora", "adapter", "linear_probe", "full")]
    found, _ = started(model, stages, epochs=4)
    for stage, expected in zip(found, ({"lora", "logits"}, {"up", "down", "logits"}, {"logits"}), strict=False):
        stage.apply(model)
        assert learning(model) == expected
    found[3].apply(model)
    own = {id(weight) for _, delta in deltas.of(model) for weight in delta.weights}
    assert len(model.trainable_weights) == len(model.weights) - len(own)
    assert not own & {id(weight) for weight in model.trainable_weights}


def test_what_learned_in_any_stage_is_what_is_saved(model):
    _, method = started(model, [{"method": "bit_fit", "epochs": 1}, {"method": "lora", "epochs": 1}], epochs=2)
    found = {path.rsplit("/", 1)[-1] for path in weights.learned(model)}
    assert found == {"bias", "beta", "a", "b", "kernel"}
    assert {path for path in weights.learned(model) if path.endswith("kernel")} == {"head/logits/kernel"}
    method.stages(model, 2)[1].apply(model)
    method.apply(model)
    assert {path.rsplit("/", 1)[-1] for path in weights.learned(model)} == found


def test_statistics_that_moved_are_saved_too(tiny_efficientnet):
    model = FineTunedModel(tiny_efficientnet.backbone, PooledHead(2, ("image",)))
    started(model, [{"method": "norm_only", "epochs": 1}, {"method": "linear_probe", "epochs": 1}], epochs=2)
    assert any(path.endswith("moving_mean") for path in weights.learned(model))
    assert not any(path.endswith("kernel") for path in weights.learned(model) if path not in HEAD)


def test_rates_by_block_are_of_their_stage_alone(model):
    stages = [{"method": "lora", "epochs": 1}, {"method": {"name": "full", "layer_decay": 0.5}, "epochs": 1}]
    found, _ = started(model, stages, epochs=2)
    assert found[0].factors == {}
    assert found[1].factors["transformer_layer_1/feedforward_output_dense/kernel"] == 0.5


@pytest.mark.parametrize(
    ("stages", "epochs", "message"),
    [
        (PROBE_THEN_LORA, 1, r"Received: \[1, None\], epochs=1"),
        ([{"method": "linear_probe", "epochs": 1}, {"method": "lora", "epochs": 1}], 3, r"\[1, 1\], epochs=3"),
    ],
)
def test_epochs_that_do_not_add_up(model, stages, epochs, message):
    with pytest.raises(UserError, match=message):
        Stages(stages).stages(model, epochs)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], r"Received: stages=\[\]"),
        ("lora", "Received: stages='lora'"),
        ([{"method": "lora", "epochs": 1}, {"method": "lorra"}], r"stages\.1: .*'lorra'.*lora"),
        ([{"method": {"name": "lora", "rnk": 2}}], r"stages\.0: .*'rnk'"),
        ([{"method": {"name": "lora", "rank": 0}}], r"stages\.0: .*rank=0"),
        ([{"method": "lora"}, {"method": "full"}], r"stages\.0: only the last .*'lora'"),
        ([{"method": "lora", "epochs": 0}], r"stages\.0: .*epochs=0"),
        ([{"method": "lora", "learning_rate": -1}], r"stages\.0: .*learning_rate=-1"),
        ([{"method": "lora", "epoch": 1}], r"stages\.0: no such key.*epochs.*epoch=1"),
        ([{"epochs": 1}, {"method": "x"}], r"(?s)stages\.0: .*'method'.*stages\.1"),
    ],
)
def test_errors_name_the_stage_before_anything_is_loaded(stages, message):
    with pytest.raises(UserError, match=message):
        FineTuner("text_classification", "no_such_backbone", {"name": "stages", "stages": stages})


def test_a_method_that_is_not_for_the_modality():
    stages = [{"method": "prompt_tuning", "epochs": 1}, {"method": "full"}]
    with pytest.raises(UserError, match="does not work with image"):
        FineTuner("image_classification", "no_such_backbone", {"name": "stages", "stages": stages})


def test_it_is_described_as_its_arguments():
    given = [{"method": "linear_probe", "epochs": 1}, {"method": LoRA(rank=4), "learning_rate": 0.1}]
    described = run_folder.plain(Stages(given))
    again = registry.get("methods", recipe.parse(recipe.yaml.safe_dump(described), "text"))
    assert run_folder.plain(again) == described
    assert described["stages"][1]["method"]["rank"] == 4
    assert described["stages"][0] == {"method": {"name": "linear_probe"}, "epochs": 1}


def test_a_run_trains_loads_and_is_saved_again(tiny_bert, reviews, tmp_path):
    folder = str(tmp_path / "preset")
    tiny_bert.backbone.save_to_preset(folder)
    tiny_bert.converter.save_to_preset(folder)
    method = {"name": "stages", "stages": [{"method": "bit_fit", "epochs": 1}, {"method": LoRA(rank=2)}]}
    tuner = FineTuner("text_classification", folder, method, labels=["positive", "negative"], learning_rate=0.01)
    history = tuner.fit(reviews, epochs=2, batch_size=8, directory=tmp_path / "run")
    assert len(history.history["loss"]) == 2
    first = kerasft.load(tmp_path / "run")
    first.save(tmp_path / "again")
    saved = weights.paths(tmp_path / "again" / "weights.safetensors")
    assert saved == weights.paths(tmp_path / "run" / "weights.safetensors")
    assert any(path.endswith("bias") for path in saved) and any("lora" in path for path in saved)
    texts = [row["text"] for row in reviews]
    expected = tuner.predict(texts)["scores"]
    np.testing.assert_allclose(kerasft.load(tmp_path / "again").predict(texts)["scores"], expected, atol=1e-6)


class Interrupt(keras.callbacks.Callback):
    """Stands for a power cut when an epoch begins."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_with_the_same_weights(make_tiny, reviews, tmp_path, epoch):
    stages = [{"method": "linear_probe", "epochs": 1}, {"method": {"name": "full", "reinit_blocks": 1}}]

    def run(directory, callbacks=()):
        method = {"name": "stages", "stages": stages}
        tuner = FineTuner(
            "text_classification", make_tiny("bert"), method, labels=["positive", "negative"], precision="float32"
        )
        tuner.fit(reviews, epochs=3, batch_size=8, directory=tmp_path / directory, callbacks=callbacks)
        return {path: weight.numpy() for path, weight in weights.by_path(tuner.model).items()}

    with pytest.raises(KeyboardInterrupt):
        run("cut", [Interrupt(epoch)])
    expected, found = run("whole"), run("cut")
    for path in expected:
        np.testing.assert_array_equal(found[path], expected[path], err_msg=path)
