import functools

import numpy as np
import pytest

import kerasft
from kerasft import deltas, weights
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner

TEXTS = ["a good film", "the plot is bad", "so very warm and witty , i love it", "dull"]
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def preset_of(make_tiny, tmp_path_factory):
    """A function from a seed to the folder of a tiny BERT with weights of that seed."""

    def folder(seed):
        path = str(tmp_path_factory.mktemp("preset") / "bert")
        pretrained = make_tiny("bert", seed=seed)
        pretrained.backbone.save_to_preset(path)
        pretrained.converter.save_to_preset(path)
        return path

    return folder


@pytest.fixture(scope="module")
def preset(preset_of):
    return preset_of(1)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """A function that saves a run whose learned weights are random, and returns its folder."""

    def run(name, backbone, method, labels=("no", "yes"), **arguments):
        tuner = FineTuner("text_classification", backbone, method, labels=list(labels), **arguments)
        for variable in weights.learned(tuner.model).values():
            variable.assign(variable + RANDOM.normal(size=variable.shape))
        directory = str(tmp_path_factory.mktemp("runs") / name)
        tuner.save(directory)
        return directory

    return run


@pytest.fixture(scope="module")
def reviews(save, preset):
    return save("reviews", preset, "lora")


@pytest.fixture(scope="module")
def legal(save, preset):
    return save("legal", preset, {"name": "lora", "rank": 2, "layers": "key$"}, ["civil", "tax", "penal"])


@functools.cache
def alone(directory):
    return kerasft.load(directory).predict(TEXTS)


def assert_answers_as(tuner, directory):
    found = tuner.predict(TEXTS)
    for name, values in alone(directory).items():
        np.testing.assert_array_equal(found[name], values)


def test_each_answers_as_if_it_were_loaded_alone(reviews, legal):
    tuner = kerasft.load(reviews).add(legal)
    assert tuner.adapters == ["reviews", "legal"]
    for name, directory in [("reviews", reviews), ("legal", legal), ("reviews", reviews), ("legal", legal)]:
        assert_answers_as(tuner.use(name), directory)
        assert tuner.directory == directory
    assert tuner.task.labels == ["civil", "tax", "penal"]


def test_methods_and_tasks_may_differ(reviews, preset, save):
    methods = {"ia3": "ia3", "prompts": {"name": "prompt_tuning", "length": 3}, "probe": "linear_probe"}
    folders = {
        name: save(name, preset, method, pair=name == "ia3", sequence_length=32) for name, method in methods.items()
    }
    tuner = kerasft.load(reviews)
    for folder in folders.values():
        tuner.add(folder)
    pairs = [(text, text) for text in TEXTS]
    expected = kerasft.load(folders["ia3"]).predict(pairs)["scores"]
    np.testing.assert_array_equal(tuner.use("ia3").predict(pairs)["scores"], expected)
    for name in ("prompts", "probe"):
        assert_answers_as(tuner.use(name), folders[name])
    assert_answers_as(tuner.use("reviews"), reviews)


def test_the_base_is_in_memory_once(reviews, legal):
    tuner = kerasft.load(reviews)
    before = {id(v.value): v.numpy().nbytes for v in tuner.model.weights}
    own = sum(v.numpy().nbytes for v in weights.learned(tuner.model).values())
    tuner.add(legal).use("legal")
    added = {id(v.value): v.numpy().nbytes for v in tuner.model.weights if id(v.value) not in before}
    # Two layers, rank 2, width 16: `a` and `b`; and a head of 3 classes. Four bytes each.
    assert sum(added.values()) == 4 * (2 * 2 * (2 * 16) + 3 * (16 + 1))
    shared = sum(v.numpy().nbytes for v in tuner.model.weights) - sum(added.values())
    assert shared == sum(before.values()) - own


def test_nothing_is_traced_anew(reviews, legal):
    tuner = kerasft.load(reviews).add(legal)
    functions = {}
    for name in ("reviews", "legal"):
        tuner.use(name).predict(TEXTS)
        functions[name] = tuner.model.predict_function
    for name, function in functions.items():
        assert tuner.use(name).model.predict_function is function


def test_evaluate_save_and_export_are_of_the_one_in_use(reviews, legal, tmp_path):
    tuner = kerasft.load(reviews).add(legal).use("legal").use("reviews").use("legal")
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, ["tax", "civil", "tax", "penal"], strict=True)]
    truth = np.array([row["label"].encode() for row in rows])
    assert tuner.evaluate(rows)["accuracy"].value == (alone(legal)["label"] == truth).mean()
    tuner.save(tmp_path / "again")
    assert_answers_as(kerasft.load(tmp_path / "again"), legal)
    tuner.export(tmp_path / "1")  # It checks the export against `predict`.
    np.testing.assert_allclose(tuner.predict(TEXTS)["scores"], alone(legal)["scores"], atol=1e-6)


@pytest.mark.parametrize(
    "method", ["lora", pytest.param({"name": "prompt_tuning", "length": 3}, marks=pytest.mark.slow)]
)
def test_switched_off_is_the_pretrained_backbone_with_the_head(preset, save, method):
    directory = save("run", preset, method)
    tuner = kerasft.load(directory).use(None)
    untouched = FineTuner("text_classification", preset, "linear_probe", labels=["no", "yes"])
    for ours, theirs in zip(untouched.model.head.weights, tuner.model.head.weights, strict=True):
        ours.assign(theirs)
    np.testing.assert_array_equal(tuner.predict(TEXTS)["scores"], untouched.predict(TEXTS)["scores"])
    assert_answers_as(tuner.use("run"), directory)


def test_an_export_of_one_that_is_off(reviews, tmp_path):
    tuner = kerasft.load(reviews).use(None)
    before = tuner.predict(TEXTS)["scores"]
    tuner.export(tmp_path / "1")
    np.testing.assert_allclose(tuner.predict(TEXTS)["scores"], before, atol=1e-6)
    assert np.abs(alone(reviews)["scores"] - before).max() > 1e-3


def test_off_and_on_between_two(reviews, legal):
    tuner = kerasft.load(reviews).add(legal)
    assert_answers_as(tuner.use("legal").use(None).use("reviews"), reviews)
    assert_answers_as(tuner.use(None).use("legal"), legal)


@pytest.mark.parametrize("method", ["bit_fit", "norm_only", "full", "lp_ft"])
def test_methods_that_change_the_base_have_nothing_to_switch_to(make_tiny, reviews, method):
    tuner = FineTuner("text_classification", make_tiny("bert"), method, labels=["no", "yes"])
    with pytest.raises(UserError, match=f"no longer in memory.*Received: method='{method}'"):
        tuner.use(None)
    with pytest.raises(UserError, match="no longer in memory"):
        tuner.add(reviews)


@pytest.mark.parametrize("method", ["bit_fit", "full"])
def test_runs_that_hold_weights_of_the_base_are_refused(preset, save, reviews, method):
    tuner = kerasft.load(reviews)
    with pytest.raises(UserError, match="holds weights of the base itself.*Received: directory="):
        tuner.add(save("run", preset, method))
    assert_answers_as(tuner, reviews)


STAGES_WITH_QLORA = {"name": "stages", "stages": [{"method": "linear_probe", "epochs": 1}, {"method": "qlora"}]}


@pytest.mark.parametrize("method", ["qlora", STAGES_WITH_QLORA], ids=["qlora", "stages"])
def test_a_run_that_quantizes_is_refused(preset, save, reviews, method):
    tuner = kerasft.load(reviews)
    with pytest.raises(UserError, match="would quantize the base for all. Received"):
        tuner.add(save("quantized", preset, method))
    assert_answers_as(tuner, reviews)


def test_a_quantized_base_is_not_shared(make_tiny, reviews):
    tuner = FineTuner("text_classification", make_tiny("bert"), "qlora", labels=["no", "yes"])
    with pytest.raises(UserError, match="quantized base cannot be shared. Received: method='qlora'"):
        tuner.add(reviews)


def test_another_base_is_refused_and_leaves_no_trace(preset_of, save, reviews, legal):
    tuner = kerasft.load(reviews)
    before = set(weights.by_path(tuner.model))
    with pytest.raises(UserError, match=r"no adapter of the base in memory.*its frozen weights differ.*Received"):
        tuner.add(save("other", preset_of(2), "lora"))
    assert set(weights.by_path(tuner.model)) == before and tuner.adapters == ["reviews"]
    assert_answers_as(tuner, reviews)
    assert_answers_as(tuner.add(legal).use("legal"), legal)


def test_names(reviews, legal):
    tuner = kerasft.load(reviews).add(legal)
    with pytest.raises(UserError, match="Did you mean 'legal'. Known: reviews, legal. Received: 'leagl'"):
        tuner.use("leagl")
    with pytest.raises(UserError, match="of this name already.*Received: name='legal'"):
        tuner.add(reviews, name="legal")
    with pytest.raises(UserError, match="No finished run"):
        tuner.add("nowhere")


def test_another_modality_is_refused(make_tiny, reviews):
    tuner = FineTuner("image_classification", make_tiny("efficientnet"), "linear_probe", labels=["no", "yes"])
    with pytest.raises(UserError, match="It reads text. Received"):
        tuner.add(reviews)


def test_saved_after_a_change_it_is_whole(reviews, legal, tmp_path):
    tuner = kerasft.load(reviews).add(legal).use("legal").use("reviews")
    tuner.save(tmp_path / "again")
    assert_answers_as(kerasft.load(tmp_path / "again"), reviews)
    assert {path.split("/")[-1] for path in weights.by_path(tuner.model) if "lora" in path} == {"a", "b"}
    assert len(deltas.of(tuner.model)) == 12  # Six Dense layers in each of two blocks; none of the other adapter's.
