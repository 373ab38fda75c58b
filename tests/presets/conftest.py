"""Texts and files that several tests of the presets share."""

import json

import numpy as np
import pytest

ODD_STRINGS = [
    "",
    " ",
    "   ",
    "Hello, world!",
    " leading",
    "trailing ",
    "two  spaces   and three",
    "tab\tseparated\t\ttext",
    "para\n\ngraph\n\n\nend\n",
    " \n \n x",
    "crlf\r\nline",
    "def f(x):\n    return x + 1\n\n\nprint(f(2))  # ok",
    "\tindent\n\t\tmore",
    "I'm sure they'll say it's we've can't I'd you're",
    "I'M SURE IT'S",
    "don’t “quote” — dash… ellipsis",
    "'''triple''' 's 't",
    "price: $1,234.56 (50% off)",
    "2024-11-22T18:07:33Z",
    "x1y22z333 1234567890",
    "½ ¾ ² ³ Ⅷ ٣٤٥ 五六",
    "3.14159e-10 0xFF",
    "Déjà vu: naïve café São Ångström",
    "Cafe\u0301 decomposed a\u0308",
    "ΟΔΟΣ Σίσυφος ς",
    "Straße ẞ İstanbul ıI",
    "ﬁne ﬂuﬀy ﬃ ligatures",
    "ＦＵＬＬ\u3000ｗｉｄｔｈ\u3000１２３",
    "a\u00a0b\u00a0\u00a0c",
    "thin\u2009space\u202fnarrow\u3000ideographic",
    "zero\u200bwidth\u200djoin\ufeffbom",
    "soft\u00adhyphen",
    "line\u2028sep\u2029para",
    "nel\u0085next",
    "vt\x0bff\x0cfs\x1c",
    "null\x00byte",
    "bell\x07 esc\x1b[0m",
    "中文句子，没有空格。",
    "日本語のテスト カタカナ",
    "한국어 문장 테스트 ᄒ",
    "русский текст ёж й",
    "العربية نص",
    "עִבְרִית",
    "हिन्दी परीक्षण",
    "ไทยไม่มีช่องว่าง",
    "emoji 😀👍🏽👨\u200d👩\u200d👧 flags 🇩🇪",
    "math ∑∫√≠ αβγ",
    "urls: https://example.com/a_b?c=d&e=%20f#g",
    "user@example.org #hashtag @mention",
    "snake_case camelCase kebab-case",
    "a" * 100,
    "b" * 101,
    "я" * 60,
    "==========-----=====-----",
    "!!!???...((([[[{{{",
    "\\n literal \\t",
    "<b>html</b>&amp;&nbsp;",
    "mixed  \t \n  white \u00a0 \u2003 space",
    "word\u00a0 \u00a0word",
    "\u00a0\u00a0x",
    "x\u3000\u3000",
    "  9 lives",
    "a  1 \n 2",
    "§ © ® ™ ° ± £€¥₹",
    "\ufffd replacement",
    "\ue000 private",
]


@pytest.fixture
def odd_strings():
    """Texts that show the differences between tokenizers, which plain English does not."""
    return list(ODD_STRINGS)


@pytest.fixture
def hugging_face_bert(tmp_path):
    """A folder as Hugging Face lays it out: a BERT of 2 layers and width 8 with large random weights."""
    characters = sorted({c for text in ODD_STRINGS for c in text.lower() if c.isprintable() and c != " "})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    vocabulary += ["deja", "cafe", "naive", "hello", "world", "spaces", "##s"]
    vocabulary = list(dict.fromkeys(vocabulary))
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "vocab_size": len(vocabulary),
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 12,
        "max_position_embeddings": 32,
    }
    folder = tmp_path / "hugging_face_bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "strip_accents": None}))
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    from safetensors.numpy import save_file

    save_file(_bert_weights(config), folder / "model.safetensors")
    return folder


def _bert_weights(config):
    random = np.random.default_rng(0)
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{prefix}.{part}.weight": (width, width), f"{prefix}.{part}.bias": (width,)}
        shapes |= {f"{prefix}.intermediate.dense.weight": (inner, width), f"{prefix}.intermediate.dense.bias": (inner,)}
        shapes |= {f"{prefix}.output.dense.weight": (width, inner), f"{prefix}.output.dense.bias": (width,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{prefix}.{part}.weight": (width,), f"{prefix}.{part}.bias": (width,)}
    return {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}
