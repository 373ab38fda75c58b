import json
import pathlib

import keras_hub
import numpy as np
import pytest
import safetensors.numpy

from kerasft import surgery
from kerasft.errors import UserError
from kerasft.model import features
from kerasft.presets import base
from kerasft.presets import keras_hub as source


def test_loads_a_keras_preset_from_a_folder(tiny_gpt2, tmp_path, monkeypatch):
    tiny_gpt2.backbone.save_to_preset(tmp_path / "gpt2")
    tiny_gpt2.converter.save_to_preset(tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "gpt2"), "./gpt2", "gpt2"):
        found = base.resolve(name)
        assert (found.name, found.modality, found.causal) == (name, "text", True)
    for new, old in zip(found.backbone.get_weights(), tiny_gpt2.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert found.converter("the end").tolist() == tiny_gpt2.converter("the end").tolist()


def test_loads_an_image_preset_from_a_folder(tmp_path):
    backbone = keras_hub.models.VGGBackbone([1], [4], image_shape=(16, 24, 3))
    backbone.save_to_preset(tmp_path)
    keras_hub.layers.VGGImageConverter(scale=1 / 255).save_to_preset(tmp_path)
    found = source.load(str(tmp_path))
    assert (found.modality, found.causal) == ("image", False)
    assert tuple(found.converter.image_size) == (16, 24)


def test_a_folder_called_as_a_preset_of_kerashub_is_still_a_folder(tiny_gpt2, tmp_path, monkeypatch):
    tiny_gpt2.backbone.save_to_preset(tmp_path / "bert_tiny_en_uncased")
    tiny_gpt2.converter.save_to_preset(tmp_path / "bert_tiny_en_uncased")
    monkeypatch.chdir(tmp_path)
    assert type(base.resolve("./bert_tiny_en_uncased").backbone) is keras_hub.models.GPT2Backbone


def test_a_folder_without_weights_will_do_for_random_ones(hugging_face_bert):
    (hugging_face_bert / "model.safetensors").unlink()
    with pytest.raises(UserError, match="There are no weights"):
        source.load(str(hugging_face_bert))
    assert source.load(str(hugging_face_bert), weights=False).backbone.num_layers == 2


def test_damaged_weights_are_told(hugging_face_bert):
    path = hugging_face_bert / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="model.safetensors: not a whole safetensors file.*Received"):
        source.load(str(hugging_face_bert))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_bert_without_a_pooler(hugging_face_bert, prefix, tmp_path):
    path = hugging_face_bert / "model.safetensors"
    whole = source.load(str(hugging_face_bert)).backbone
    tensors = safetensors.numpy.load_file(path)
    kept = {f"{prefix}{name}": array for name, array in tensors.items() if "pooler" not in name}
    safetensors.numpy.save_file(kept, path)
    found = source.load(str(hugging_face_bert))
    found.backbone.save_to_preset(tmp_path / "preset")
    found.converter.save_to_preset(tmp_path / "preset")
    base.write_architecture(found, tmp_path / "architecture")
    inputs = {name: np.ones((1, 4), int) for name in whole.input}
    np.testing.assert_array_equal(found.backbone(inputs)["sequence_output"], whole(inputs)["sequence_output"])
    again = source.load(str(tmp_path / "preset")), base.read_architecture(tmp_path / "architecture")
    for pretrained in (found, *again):
        assert features(pretrained.backbone).keys() == {"tokens", "mask"}


def test_an_approximate_gelu_stays_approximate(hugging_face_bert):
    config = json.loads((hugging_face_bert / "config.json").read_text())
    (hugging_face_bert / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu_new"}))
    assert type(source.load(str(hugging_face_bert)).backbone) is keras_hub.models.BertBackbone


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_act", "relu"), ("layer_norm_eps", 1e-5), ("position_embedding_type", "relative_key")]
)
def test_a_bert_that_kerashub_would_load_wrongly_is_refused(hugging_face_bert, key, value):
    config = json.loads((hugging_face_bert / "config.json").read_text())
    (hugging_face_bert / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(UserError, match=f"can only be loaded with {key} .*Received: {key}={value!r}"):
        source.load(str(hugging_face_bert))


@pytest.fixture
def hugging_face_roberta(tmp_path):
    """Returns a function that writes a RoBERTa of random weights with this embedding of the token type."""
    config = {
        "model_type": "roberta",
        "vocab_size": 9,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "hidden_dropout_prob": 0.0,
        "max_position_embeddings": 12,
        "layer_norm_eps": 1e-5,
    }
    widths = {"intermediate.dense": (16, 8), "output.dense": (8, 16)}
    denses = {f"attention.self.{name}": (8, 8) for name in ("query", "key", "value")}
    denses |= {"attention.output.dense": (8, 8), **widths}
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    shapes = {"word_embeddings.weight": (9, 8), "LayerNorm.weight": (8,), "LayerNorm.bias": (8,)}
    shapes = {f"roberta.embeddings.{name}": shape for name, shape in shapes.items()}
    for name, shape in {**denses, **dict.fromkeys(norms, (8,))}.items():
        shapes[f"roberta.encoder.layer.0.{name}.weight"] = shape
        shapes[f"roberta.encoder.layer.0.{name}.bias"] = shape[:1]
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    positions = random.normal(size=(12, 8)).astype("float32")

    def write(token_type, changes=()):
        tensors["roberta.embeddings.position_embeddings.weight"] = positions - token_type
        tensors["roberta.embeddings.token_type_embeddings.weight"] = token_type[None]
        safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({**config, **dict(changes)}))
        return str(tmp_path)

    return write


def test_a_robertas_token_type_counts(hugging_face_roberta, monkeypatch):
    monkeypatch.setattr(source._tokenizers, "load", lambda preset, origin: None)
    tokens = {"token_ids": np.array([[0, 5, 6, 2]]), "padding_mask": np.ones((1, 4), int)}
    # The same sums of both embeddings, so the same outputs.
    token_types = (np.zeros(8, "float32"), np.linspace(-1, 1, 8, dtype="float32"))
    without, with_one = (source.load(hugging_face_roberta(values)).backbone(tokens) for values in token_types)
    np.testing.assert_allclose(with_one, without, atol=1e-5)


@pytest.mark.parametrize(("key", "value"), [("hidden_act", "gelu_new"), ("layer_norm_eps", 1e-12)])
def test_a_roberta_that_kerashub_would_load_wrongly_is_refused(hugging_face_roberta, key, value):
    with pytest.raises(UserError, match=f"roberta can only be loaded with {key} .*Received: {key}={value!r}"):
        source.load(hugging_face_roberta(np.zeros(8, "float32"), {key: value}))


LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 2.0,
    "high_freq_factor": 5.0,
    "original_max_position_embeddings": 64,
}


LLAMA_3_SPLITTER = [
    {
        "type": "Split",
        "pattern": {
            "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+"
        },
        "behavior": "Isolated",
        "invert": False,
    },
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
]


@pytest.fixture
def hugging_face_llama(tmp_path):
    """Returns a function that writes the config of a Llama, with these changes, and its tokenizer."""
    config = {
        "model_type": "llama",
        "vocab_size": 7,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "rope_theta": 100.0,
        "rms_norm_eps": 0.25,
        "tie_word_embeddings": True,
    }
    tokens = ["a", "b", "c", "ab"]
    added = [{"content": token, "id": 4 + i} for i, token in enumerate(["<s>", "<end>", "<tool>"])]

    def write(splitter=None, **changes):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": [["a", "b"]]}
        splitter = splitter or {"type": "Sequence", "pretokenizers": LLAMA_3_SPLITTER}
        whole = {"model": model, "added_tokens": added, "pre_tokenizer": splitter}
        (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "<end>"}))
        return str(tmp_path)

    return write


def test_a_llama_gets_the_epsilon_of_its_config(hugging_face_llama):
    assert source.load(hugging_face_llama(), weights=False).backbone.layer_norm_epsilon == 0.25
    # Once this fails, the option can go.
    stock = keras_hub.models.Backbone.from_preset(hugging_face_llama(), load_weights=False)
    assert stock.layer_norm_epsilon != 0.25


def test_a_llama_comes_back_with_its_special_tokens(hugging_face_llama, tmp_path):
    found = source.load(hugging_face_llama(tie_word_embeddings=False), weights=False)
    base.write_architecture(found, tmp_path / "architecture")
    found.backbone.save_to_preset(tmp_path / "preset")
    found.converter.save_to_preset(tmp_path / "preset")
    again = base.read_architecture(tmp_path / "architecture"), source.load(str(tmp_path / "preset"))
    for tokenizer in (pretrained.converter for pretrained in (found, *again)):
        assert (tokenizer.start_token_id, tokenizer.end_token_id) == (4, 5)
        assert sorted(tokenizer.special_token_ids) == [4, 5, 6]
        assert list(tokenizer.misc_special_tokens) == ["<end>", "<s>", "<tool>"]
        assert np.asarray(tokenizer("cab")).tolist() == [2, 3]


@pytest.mark.parametrize("splitter", [None, {"type": "Sequence", "pretokenizers": LLAMA_3_SPLITTER[1:]}])
def test_texts_that_kerashub_would_split_otherwise_are_told(hugging_face_llama, splitter, recwarn):
    tokenizer = source.load(hugging_face_llama(splitter), weights=False).converter
    assert tokenizer.split == ("llama3" if splitter is None else None)
    told = [str(warning.message) for warning in recwarn if "otherwise than this tokenizer.json" in str(warning.message)]
    assert len(told) == (splitter is not None)


@pytest.mark.parametrize("key", ["rope_parameters", "rope_scaling"])
def test_llama_3s_scaling_of_positions_is_kept(hugging_face_llama, key):
    backbone = source.load(hugging_face_llama(**{key: LLAMA_3}), weights=False).backbone
    assert backbone.rope_frequency_adjustment_factor == 32.0
    assert (backbone.rope_low_freq_factor, backbone.rope_high_freq_factor) == (2.0, 5.0)
    assert backbone.rope_pretraining_sequence_length == 64


@pytest.mark.parametrize(
    ("origin", "scaling"),
    [
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 100.0}}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
        ("qwen2", {"rope_parameters": LLAMA_3}),
    ],
)
def test_a_scaling_of_positions_that_kerashub_would_leave_out_is_refused(hugging_face_llama, origin, scaling):
    with pytest.raises(UserError, match=f"{origin} can only be loaded with positions of rope_type .*Received"):
        source.load(hugging_face_llama(model_type=origin, **scaling), weights=False)


def test_quantized_weights_are_refused(hugging_face_llama):
    with pytest.raises(UserError, match="weights that are not quantized. Received: quantization_config=.*'gptq'"):
        source.load(hugging_face_llama(quantization_config={"quant_method": "gptq"}), weights=False)


def test_a_bert_with_tokenizer_json_alone_has_the_same_ids(hugging_face_bert, odd_strings):
    path = hugging_face_bert / "vocab.txt"
    pieces = path.read_text(encoding="utf-8").split("\n")
    (hugging_face_bert / "tokenizer_config.json").unlink()  # Lowers and strips accents by default.
    expected = source.load(str(hugging_face_bert)).converter(odd_strings).to_list()
    path.unlink()
    with pytest.raises(UserError, match="must hold vocab.txt, or a tokenizer.json of a WordPiece. Received: neither"):
        source.load(str(hugging_face_bert))
    vocabulary = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
    normalizer = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None, "handle_chinese_chars": True}
    whole = {"model": {"type": "WordPiece", "vocab": vocabulary}, "normalizer": normalizer}
    (hugging_face_bert / "tokenizer.json").write_text(json.dumps(whole))
    assert source.load(str(hugging_face_bert)).converter(odd_strings).to_list() == expected
    cased = {**whole, "normalizer": {**normalizer, "lowercase": False}}
    (hugging_face_bert / "tokenizer.json").write_text(json.dumps(cased))
    assert not source.load(str(hugging_face_bert)).converter.lowercase


def test_a_roberta_with_tokenizer_json_alone(hugging_face_roberta):
    folder = hugging_face_roberta(np.zeros(8, "float32"))
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "c", "ab"]
    model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": [["a", "b"]]}
    whole = {"model": model, "added_tokens": [{"content": "<mask>", "id": 8}]}
    (pathlib.Path(folder) / "tokenizer.json").write_text(json.dumps(whole))
    tokenizer = source.load(folder).converter
    assert type(tokenizer) is keras_hub.tokenizers.RobertaTokenizer
    assert (np.asarray(tokenizer("cab")).tolist(), tokenizer.mask_token_id) == ([6, 7], 8)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused(hugging_face_bert, name):
    (hugging_face_bert / "model.safetensors").rename(hugging_face_bert / name)
    with pytest.raises(UserError, match=f"(?s)Pickled weights can run code.*convert them to model.safetensors.*{name}"):
        source.load(str(hugging_face_bert))


def test_folders_that_will_not_do_are_told(tmp_path):
    with pytest.raises(UserError, match="There is no such folder. Received: backbone='nowhere'"):
        source.load("./nowhere")
    with pytest.raises(UserError, match="holds config.json and.*with nothing"):
        source.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    safetensors.numpy.save_file({"a": np.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="could not load this preset: KerasHub has no converter.*'mamba'.*Received"):
        source.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: not JSON"):
        source.load(str(tmp_path))


def test_a_failed_download_is_told(monkeypatch):
    def offline(preset, name):
        raise ConnectionError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(surgery, "preset_file", offline)
    for name in ("bert_tiny_en_uncased", "kaggle://keras/bert/keras/bert_tiny_en_uncased"):
        with pytest.raises(UserError, match=f"api.kaggle.com' Without a network.*Received: backbone='{name}'"):
            source.load(name)


def test_what_kerashub_fetched_is_looked_at_before_it_reads_it(tiny_gpt2, tmp_path, monkeypatch):
    tiny_gpt2.backbone.save_to_preset(tmp_path)
    tiny_gpt2.converter.save_to_preset(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["hidden_dim"] = 10**9
    (tmp_path / "config.json").write_text(json.dumps(config))
    asked = []

    def fetched(preset, name):
        asked.append(preset)
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr(surgery, "preset_file", fetched)
    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", lambda preset, **_: base.deserialize(config))
    with pytest.raises(UserError, match="a model of .* weights, and there are files of .*Received: .*1000000000"):
        source.load("kaggle://a/b/keras/c")
    assert set(asked) == {"kaggle://a/b/keras/c"}


def test_only_decoders_are_causal(tiny_bert, tiny_gpt2):
    bart = keras_hub.models.BartBackbone(
        vocabulary_size=9, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=8
    )
    found = [source.is_causal(backbone) for backbone in (tiny_bert.backbone, tiny_gpt2.backbone, bart)]
    assert found == [False, True, False]


def test_entries_tell_what_is_read():
    kinds = {entry.name: entry.kind for entry in source.entries()}
    expected = {
        "bert_tiny_en_uncased": "text encoder",
        "gpt2_base_en": "text decoder",
        "bart_base_en": "text encoder-decoder",
        "resnet_50_imagenet": "image",
        "pali_gemma_3b_mix_224": "multimodal",
    }
    assert expected.items() <= kinds.items()
    assert "whisper_tiny_en" not in kinds and "stable_diffusion_3_medium" not in kinds
    by_task = {
        name: "text decoder"
        for task in vars(keras_hub.models).values()
        if isinstance(task, type)
        and issubclass(task, keras_hub.models.CausalLM)
        and not issubclass(task, keras_hub.models.Seq2SeqLM)
        and task.backbone_cls
        for name in task.backbone_cls.presets
    }
    assert all(kinds[name] in (kind, "multimodal") for name, kind in by_task.items() if name in kinds)
