import json

import keras_hub
import pytest
import tensorflow as tf
import transformers

from kerasft.presets import base
from kerasft.presets import keras_hub as source
from tests import families


@pytest.fixture
def hugging_face_albert(tmp_path, odd_strings):
    """Returns a function that writes the config of an ALBERT, its pieces and these settings of its tokenizer."""
    # Of runs of one character there would be pieces, by which a run can be split equally well in several ways.
    latin = [text.lower() for text in odd_strings if text.isascii() and len(set(text)) > 10]
    pieces = families.sentence_pieces(
        latin * 5, vocab_size=200, pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", unk_piece="<unk>",
        bos_piece="[CLS]", eos_piece="[SEP]", user_defined_symbols="[MASK]",
    )  # fmt: skip
    config = {
        "model_type": "albert",
        "vocab_size": 200,
        "embedding_size": 4,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "num_attention_heads": 2,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
    }

    def write(**settings):
        (tmp_path / "spiece.model").write_bytes(pieces)
        (tmp_path / "config.json").write_text(json.dumps(config))
        settings = {"tokenizer_class": "AlbertTokenizer", **settings}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        return str(tmp_path)

    return write


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"keep_accents": True}])
def test_ids_are_those_of_transformers_eagerly_and_in_a_graph(hugging_face_albert, odd_strings, settings):
    folder = hugging_face_albert(**settings)
    texts = [*odd_strings, "``quoted'' it's '''", "HELLO World"]
    expected = transformers.AutoTokenizer.from_pretrained(folder)(texts, add_special_tokens=False)["input_ids"]
    tokenizer = source.load(folder, weights=False).converter
    assert tokenizer(texts).to_list() == expected
    assert next(iter(tf.data.Dataset.from_tensors(texts).map(tokenizer))).to_list() == expected
    assert len(set(map(tuple, expected))) > len(texts) // 2
    assert tokenizer(texts[-1]).numpy().tolist() == expected[-1]


def test_the_tokenizer_comes_back_in_a_preset_and_in_an_architecture(hugging_face_albert, odd_strings, tmp_path):
    found = source.load(hugging_face_albert(do_lower_case=False, keep_accents=True), weights=False)
    base.write_architecture(found, tmp_path / "architecture")
    found.backbone.save_to_preset(tmp_path / "preset")
    found.converter.save_to_preset(tmp_path / "preset")
    for again in (base.read_architecture(tmp_path / "architecture"), source.load(str(tmp_path / "preset"))):
        assert type(again.converter) is type(found.converter)
        assert again.converter(odd_strings).to_list() == found.converter(odd_strings).to_list()


def test_kerashubs_own_tokenizer_still_differs(hugging_face_albert):
    # Once this fails, ExactAlbertTokenizer can go.
    stock = keras_hub.tokenizers.AlbertTokenizer.from_preset(hugging_face_albert())
    assert stock.token_to_id("<unk>") in stock("HELLO")
