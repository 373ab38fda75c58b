import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import kerasft
from kerasft import deltas, hugging_face
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.methods import LoRA
from tests import families

RANDOM = np.random.default_rng(0)
LABELS = ["no", "yes"]
ALL = r"(query|key|value|attention_output|dense)$"


def tuner_of(pretrained, method):
    tuner = FineTuner("text_classification", pretrained, method, labels=LABELS)
    for _, delta in deltas.of(tuner.model):
        for weight in delta.weights:
            weight.assign(RANDOM.uniform(0.5, 1.5, weight.shape))
    return tuner


def layers_of(tuner):
    return {layer.path: (layer, delta) for layer, delta in deltas.of(tuner.model)}


# A name of each kind of axes: one input and two outputs, two inputs and one output, one and one.
NAMES = {
    "bert": {
        "encoder.layer.1.attention.self.query": "transformer_layer_1/self_attention_layer/query",
        "encoder.layer.0.attention.output.dense": "transformer_layer_0/self_attention_layer/attention_output",
        "encoder.layer.0.intermediate.dense": "transformer_layer_0/feedforward_intermediate_dense",
    },
    "llama3": {
        "layers.0.self_attn.k_proj": "transformer_layer_0/self_attention/key",
        "layers.1.self_attn.o_proj": "transformer_layer_1/self_attention/attention_output",
        "layers.1.mlp.gate_proj": "transformer_layer_1/feedforward_gate_dense",
    },
}


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("family", NAMES)
def test_names_shapes_and_values(family, use_dora, tmp_path):
    method = {"name": "lora", "rank": 3, "alpha": 5, "layers": ALL, "use_dora": use_dora}
    tuner = tuner_of(families.make(family), method)
    tuner.export(tmp_path / "adapter", format="peft")
    arrays = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(arrays) == len(deltas.of(tuner.model)) * (3 if use_dora else 2)
    for name, path in NAMES[family].items():
        layer, delta = layers_of(tuner)[path]
        down, up = (arrays[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
        assert (down.shape[0], up.shape[1]) == (3, 3)
        # PEFT adds `lora_alpha / r * lora_B @ lora_A` to a weight of (outputs, inputs).
        change = (5 / 3 * up @ down).T.reshape(layer.kernel.shape)
        np.testing.assert_allclose(change, delta.change(), rtol=1e-5)
        if use_dora:
            length = arrays[f"base_model.model.{name}.lora_magnitude_vector"]
            np.testing.assert_array_equal(length, delta.length.numpy().ravel())


def test_the_config_names_each_layer_in_full(tiny_bert, tmp_path):
    method = {"name": "lora", "rank": 4, "dropout": 0.25, "scale_by_root": True, "layers": "query$|value$"}
    tuner = tuner_of(tiny_bert, method)
    tuner.export(tmp_path / "adapter", format="peft")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == [
        f"encoder.layer.{n}.attention.self.{part}" for n in (0, 1) for part in ("query", "value")
    ]
    expected = {"peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "r": 4, "lora_alpha": 8, "lora_dropout": 0.25}
    expected |= {"use_rslora": True, "use_dora": False, "bias": "none", "base_model_name_or_path": None}
    assert {name: config[name] for name in expected} == expected


def test_that_of_a_chat_model_is_for_the_model_with_its_language_head(tmp_path):
    tuner = FineTuner("causal_lm", families.make("llama3"), {"name": "lora", "layers": "query|value"}, form="prompt")
    for _, delta in deltas.of(tuner.model):
        delta.b.assign(RANDOM.normal(size=delta.b.shape))
    tuner.export(tmp_path / "adapter", format="peft")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    names = {f"model.layers.{n}.self_attn.{part}_proj" for n in (0, 1) for part in "qv"}
    assert config["task_type"] == "CAUSAL_LM" and set(config["target_modules"]) == names
    arrays = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert set(arrays) == {f"base_model.model.{name}.lora_{part}.weight" for name in names for part in "AB"}
    again = FineTuner("causal_lm", families.make("llama3"), LoRA.from_peft(tmp_path / "adapter"), form="prompt")
    for (_, one), (_, other) in zip(deltas.of(tuner.model), deltas.of(again.model), strict=True):
        np.testing.assert_array_equal(one.b, other.b)


def test_the_head_is_a_linear_layer_beside_it(tiny_bert, tmp_path):
    tuner = tuner_of(tiny_bert, "lora")
    tuner.export(tmp_path / "adapter", format="peft")
    path = tmp_path / "adapter" / "head.safetensors"
    head = load_file(path)
    features = RANDOM.normal(size=(3, 16)).astype("float32")
    np.testing.assert_allclose(features @ head["weight"].T + head["bias"], tuner.model.head.logits(features), atol=1e-6)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert {name: metadata[name] for name in ("head", "pooling", "labels")} == {
        **{"head": "PooledHead", "pooling": "mean", "labels": '["no", "yes"]'}
    }


def test_all_that_a_head_has_is_beside_it(make_tiny, tmp_path):
    arguments = {"token_classification": {"labels": ["O", "B-A", "I-A"], "crf": True}}
    arguments |= {"text_regression": {"mean": 3.0, "deviation": 2.0}, "zero_shot_classification": {"labels": LABELS}}
    expected = {"token_classification": {"pairs"}, "text_regression": set()}
    for task, given in arguments.items():
        tuner = FineTuner(task, make_tiny("bert"), "lora", **given)
        tuner.export(tmp_path / task, format="peft")
        path = tmp_path / task / "head.safetensors"
        names = {"weight", "bias"} | expected[task] if task in expected else {"vectors", "bias"}
        assert set(load_file(path)) == names
        with safe_open(path, "numpy") as file:
            told = json.loads(file.metadata()["task"])
        assert {name: told[name] for name in given} == given


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"scale_by_root": True, "layers": ALL}])
@pytest.mark.parametrize("family", ["roberta", "distil_bert", "llama3", "mistral", "qwen"])
def test_what_is_written_is_read(family, options, tmp_path):
    tuner = tuner_of(families.make(family), {"name": "lora", "rank": 3, "alpha": 4, **options})
    tuner.export(tmp_path / "adapter", format="peft")
    method = LoRA.from_peft(tmp_path / "adapter")
    for name in ("rank", "alpha", "dropout", "scale_by_root", "use_dora"):
        assert getattr(method, name) == getattr(tuner.method, name)
    found = FineTuner("text_classification", families.make(family), method, labels=LABELS)
    ours, theirs = layers_of(tuner), layers_of(found)
    assert set(ours) == set(theirs)
    for path, (_, delta) in ours.items():
        assert theirs[path][1].scale == pytest.approx(delta.scale)
        for before, after in zip(delta.weights, theirs[path][1].weights, strict=True):
            np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_a_run_that_began_with_it_needs_its_folder_no_more(tiny_bert, tmp_path):
    tuner_of(tiny_bert, {"name": "lora", "rank": 3}).export(tmp_path / "adapter", format="peft")
    method = LoRA.from_peft(tmp_path / "adapter")
    tuner = FineTuner("text_classification", families.make("bert"), method, labels=LABELS)
    expected = tuner.predict(["a good film"])["scores"]
    tuner.save(tmp_path / "run")
    (tmp_path / "adapter").rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(kerasft.load(tmp_path / "run").predict(["a good film"])["scores"], expected)


def test_names_of_models_with_a_head_are_read_too():
    for prefix in ("", "bert.", "base_model.model.roberta."):
        name = f"{prefix}encoder.layer.11.attention.self.key"
        assert hugging_face.family_with([name]).path(name) == "transformer_layer_11/self_attention_layer/key"
    name = "base_model.model.model.layers.3.mlp.up_proj"
    assert hugging_face.family_with([name]).path(name) == "transformer_layer_3/feedforward_intermediate_dense"
    assert hugging_face.family_with([name, "encoder.layer.0.output.dense"]) is None


def test_what_cannot_be_written_is_told(tiny_bert, tiny_gpt2, tiny_efficientnet, tmp_path):
    tuner = FineTuner("text_classification", tiny_gpt2, "lora", labels=LABELS)
    with pytest.raises(UserError, match="names of layers are known for BertBackbone.*Received: GPT2Backbone"):
        tuner.export(tmp_path / "adapter", format="peft")
    tuner = FineTuner("image_classification", tiny_efficientnet, "linear_probe", labels=LABELS)
    with pytest.raises(UserError, match="Only lora .*Received: method='linear_probe'"):
        tuner.export(tmp_path / "adapter", format="peft")
    tuner = tuner_of(tiny_bert, {"name": "lora", "layers": "query$|token_embedding"})
    with pytest.raises(UserError, match="Received: a LoRA of .*token_embedding"):
        tuner.export(tmp_path / "adapter", format="peft")
    assert not list(tmp_path.iterdir())
    (tmp_path / "adapter").mkdir()
    with pytest.raises(UserError, match="something already.*Received"):
        tuner.export(tmp_path / "adapter", format="peft")


@pytest.fixture
def adapter(make_tiny, tmp_path):
    tuner_of(make_tiny("bert"), {"name": "lora", "rank": 3}).export(tmp_path / "adapter", format="peft")
    return tmp_path / "adapter"


def change_config(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "only a LoRA can be read. Received: peft_type='IA3'"),
        ({"bias": "all"}, "bias must be 'none'. Received: bias='all'"),
        ({"rank_pattern": {"query": 2}}, "rank_pattern must be .* Received: rank_pattern={'query': 2}"),
    ],
)
def test_other_adapters_are_refused(adapter, changes, message):
    change_config(adapter, **changes)
    with pytest.raises(UserError, match=message):
        LoRA.from_peft(adapter)


def test_folders_that_are_no_adapter(adapter, tmp_path):
    with pytest.raises(UserError, match="No adapter of PEFT in this folder.*Received"):
        LoRA.from_peft(tmp_path)
    path = adapter / "adapter_model.safetensors"
    save_file({"base_model.model.h.0.attn.c_attn.lora_A.weight": np.zeros((3, 4), "float32")}, path)
    with pytest.raises(UserError, match="must be a LoRA of Dense layers.*h.0.attn.c_attn"):
        LoRA.from_peft(adapter)
    path.rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="pickled adapters are not"):
        LoRA.from_peft(adapter)


def test_an_adapter_of_another_backbone_is_told(adapter, make_tiny):
    wide = make_tiny("bert")
    wide.backbone = type(wide.backbone)(**{**wide.backbone.get_config(), "hidden_dim": 32})
    with pytest.raises(UserError, match="of another width: transformer_layer_0.*Received"):
        FineTuner("text_classification", wide, LoRA.from_peft(adapter), labels=LABELS).model  # noqa: B018
    deep = make_tiny("bert")
    deep.backbone = type(deep.backbone)(**{**deep.backbone.get_config(), "num_layers": 3})
    with pytest.raises(UserError, match="not of the same ones in all of its blocks.*transformer_layer_2"):
        FineTuner("text_classification", deep, LoRA.from_peft(adapter), labels=LABELS).model  # noqa: B018


def test_bfloat16_is_read(adapter):
    import tensorflow as tf
    from safetensors.tensorflow import save_file as save_tensors

    path = adapter / "adapter_model.safetensors"
    arrays = load_file(path)
    save_tensors({name: tf.cast(array, "bfloat16") for name, array in arrays.items()}, path)
    read = LoRA.from_peft(adapter).start["transformer_layer_0/self_attention_layer/query"]["a"]
    expected = arrays["base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"]
    np.testing.assert_allclose(read, expected, rtol=2**-8)
