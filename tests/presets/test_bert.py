import json

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from safetensors.numpy import load_file
from scipy.special import erf, softmax

from kerasft.presets import keras_hub as source


def bert(weights, ids):
    """BERT in NumPy, from the paper, for one text without padding."""

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normalize(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = normalize(x + weights["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
    for layer in range(2):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), 2, 4).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        attended = softmax(query @ key.transpose(0, 2, 1) / 2.0, axis=-1) @ value
        attended = dense(attended.transpose(1, 0, 2).reshape(len(ids), 8), f"{name}.attention.output.dense")
        x = normalize(x + attended, f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = normalize(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x


def outputs(backbone, ids):
    ids = np.array([ids])
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
    return backbone(inputs)["sequence_output"].numpy()[0]


def test_a_hugging_face_bert_gives_what_the_paper_says(hugging_face_bert):
    pretrained = source.load(str(hugging_face_bert))
    weights = {
        name: array.astype("float64") for name, array in load_file(hugging_face_bert / "model.safetensors").items()
    }
    ids = [2, 7, 30, 11, 3]
    np.testing.assert_allclose(outputs(pretrained.backbone, ids), bert(weights, ids), atol=2e-6)
    assert (pretrained.modality, pretrained.causal) == ("text", False)


def test_kerashubs_own_bert_still_approximates(hugging_face_bert):
    # Once this fails, ExactBertBackbone and hub_blocks.set_feed_forward_activation can go.
    stock = keras_hub.models.Backbone.from_preset(str(hugging_face_bert))
    weights = load_file(hugging_face_bert / "model.safetensors")
    ids = [2, 7, 30, 11, 3]
    assert np.abs(outputs(stock, ids) - bert(weights, ids)).max() > 1e-4


def reference(folder, **normalizer):
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": True, "strip_accents": None},
        {"do_lower_case": False, "strip_accents": None},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": True, "tokenize_chinese_chars": False},
    ],
)
def test_ids_are_those_of_tokenizers_eagerly_and_in_a_graph(hugging_face_bert, odd_strings, settings):
    (hugging_face_bert / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = source.load(str(hugging_face_bert), weights=False).converter
    names = {"do_lower_case": "lowercase", "tokenize_chinese_chars": "handle_chinese_chars"}
    origin = reference(hugging_face_bert, **{names.get(key, key): value for key, value in settings.items()})
    expected = [origin.encode(text).ids for text in odd_strings]
    assert tokenizer(odd_strings).to_list() == expected
    in_graph = tf.data.Dataset.from_tensors(odd_strings).map(tokenizer)
    assert next(iter(in_graph)).to_list() == expected
    assert len(set(map(tuple, expected))) > len(odd_strings) // 2


def test_kerashubs_own_tokenizer_still_differs(hugging_face_bert, odd_strings):
    # Once this fails, ExactBertTokenizer can go.
    stock = keras_hub.tokenizers.BertTokenizer.from_preset(str(hugging_face_bert), strip_accents=True)
    origin = reference(hugging_face_bert)
    assert sum(stock(text).tolist() != origin.encode(text).ids for text in odd_strings) > 3


def test_one_text_an_empty_batch_and_bytes_that_are_no_utf8(hugging_face_bert):
    tokenizer = source.load(str(hugging_face_bert), weights=False).converter
    assert tokenizer("Déjà").shape == (1,)
    assert tokenizer(tf.constant([], tf.string)).shape.as_list() == [0, None]
    assert tokenizer(tf.constant([b"caf\xff\xfee"])).to_list() == tokenizer(["cafe"]).to_list()


def test_special_tokens_in_text_are_text(hugging_face_bert):
    tokenizer = source.load(str(hugging_face_bert), weights=False).converter
    assert tokenizer.sep_token_id not in tokenizer("[SEP]").numpy()
    with pytest.raises(ValueError, match="special_tokens_in_strings=True"):
        type(tokenizer)(tokenizer.vocabulary, special_tokens_in_strings=True)
