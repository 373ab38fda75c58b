"""The tokenizer of a preset of KerasHub or Hugging Face: KerasHub's class where its ids are right, or one of ours."""

import json
import os
import warnings

from kerasft.errors import UserError
from kerasft.inspection import json_file
from kerasft.presets import _files, _sentence_pieces
from kerasft.presets.base import import_own_classes

# Hugging Face's `model_type`s whose tokenizer is BERT's WordPiece.
WORD_PIECE = ("bert", "distilbert")
# What `tokenizer_config.json` and `tokenizer.json` call the same of it.
NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# Those whose vocabulary KerasHub reads from `vocab.json` and `merges.txt`, and the class of the tokenizer.
BYTE_PAIRS = {"roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer", "bart": "BartTokenizer"}
# Those whose `tokenizer.json` KerasHub takes for byte-level BPE, whatever it is.
BYTE_LEVEL = ("llama", "smollm3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gpt_oss")
# Those with SentencePiece: the file of its model, and the class of the tokenizer.
SENTENCE_PIECES = {
    "xlm-roberta": ("sentencepiece.bpe.model", "XLMRobertaTokenizer"),
    "gemma": ("tokenizer.model", "GemmaTokenizer"),
    "gemma2": ("tokenizer.model", "GemmaTokenizer"),
    "llama": ("tokenizer.model", "LlamaTokenizer"),
    "mistral": ("tokenizer.model", "MistralTokenizer"),
    "mixtral": ("tokenizer.model", "MixtralTokenizer"),
}


def load(preset, origin):
    """Returns the tokenizer of a preset: of one of Hugging Face by its `model_type`, of one of KerasHub for None.

    Raises: UserError if its files do not hold one that this kind of model can have.
    """
    if origin is not None:
        return READERS.get(origin, _stock)(preset, origin)
    import_own_classes(_json(preset, "tokenizer.json"))  # It may be of ours while the backbone is not.
    tokenizer = _stock(preset)
    if os.path.isdir(preset):  # Whoever made it may have trained on words as KerasHub splits them.
        return tokenizer
    from kerasft.presets._decoders import exact

    return exact(tokenizer)


def _stock(preset, origin=None):
    """Returns the tokenizer that KerasHub makes of a preset."""
    from keras_hub import models

    return models.Tokenizer.from_preset(preset)


def _sentence_piece(preset, origin):
    """Returns a tokenizer with the model of SentencePiece, or with one made of `tokenizer.json`."""
    from keras_hub import tokenizers

    if origin == "mistral" and _files.file_of(preset, "tekken.json"):  # Newer ones have byte-level BPE.
        return _stock(preset)
    file, name = SENTENCE_PIECES[origin]
    proto = _files.file_of(preset, file)
    if not proto:
        proto = _sentence_pieces.proto(_json(preset, "tokenizer.json"), preset, origin == "xlm-roberta")
    return getattr(tokenizers, name)(proto)


def _byte_level(preset, origin):
    """Returns a tokenizer of byte-level BPE, or of a Llama of SentencePiece its own."""
    from kerasft.presets._byte_level import rules
    from kerasft.presets._decoders import TOKENIZERS

    whole = _json(preset, "tokenizer.json")
    splitter = whole.get("pre_tokenizer")
    if '"ByteLevel"' not in json.dumps(splitter):
        if origin in SENTENCE_PIECES:
            return _sentence_piece(preset, origin)
        raise UserError(
            f"{origin} can only be loaded with a byte-level vocabulary, which tokenizer.json tells by a pre_tokenizer "
            f"ByteLevel. Received: pre_tokenizer={splitter!r} in {preset}"
        )
    found = rules(whole)
    if not found:
        warnings.warn(
            "KerasHub splits texts into words otherwise than this tokenizer.json says: the ids of numbers and line "
            f"breaks may not be those that the model was trained on. Received: pre_tokenizer={splitter!r} in {preset}",
            stacklevel=2,
        )
    return TOKENIZERS[origin].from_preset(preset, **found)


def _word_piece(preset, origin):
    from kerasft.presets._bert import ExactBertTokenizer

    settings = _json(preset, "tokenizer_config.json")
    # Some BERTs, such as multilingual E5, come with XLM-RoBERTa's SentencePiece.
    if "XLMRoberta" in (settings.get("tokenizer_class") or ""):
        return _sentence_piece(preset, "xlm-roberta")
    path = _files.file_of(preset, "vocab.txt")
    if path:
        with open(path, encoding="utf-8") as file:
            vocabulary = [line.rstrip() for line in file]
    else:
        whole = _json(preset, "tokenizer.json")
        ids = _vocabulary(preset, whole, "WordPiece", "vocab.txt")
        vocabulary, normalizer = sorted(ids, key=ids.get), whole.get("normalizer") or {}
        settings = {**settings, **{key: normalizer[name] for key, name in NORMALIZER.items() if name in normalizer}}
    lowercase = settings.get("do_lower_case", True)
    accents = settings.get("strip_accents")
    chinese = settings.get("tokenize_chinese_chars", True)
    return ExactBertTokenizer(vocabulary, lowercase, lowercase if accents is None else accents, chinese)


def _albert(preset, origin):
    from kerasft.presets._albert import ExactAlbertTokenizer

    path = _files.file_of(preset, "spiece.model")
    if path:
        settings = _json(preset, "tokenizer_config.json")
        lowercase, keeps_accents = settings.get("do_lower_case", True), settings.get("keep_accents", False)
        return ExactAlbertTokenizer(path, lowercase, not keeps_accents)
    whole = _json(preset, "tokenizer.json")
    steps = _sentence_pieces.normalizer_steps(whole)
    return ExactAlbertTokenizer(_sentence_pieces.proto(whole, preset), "Lowercase" in steps, "StripAccents" in steps)


def _byte_pairs(preset, origin):
    """Returns a tokenizer with the vocabulary and merges of `vocab.json` and `merges.txt`, or of `tokenizer.json`."""
    from keras_hub import tokenizers

    if _files.file_of(preset, "vocab.json"):
        return _stock(preset)
    whole = _json(preset, "tokenizer.json")
    ids = dict(_vocabulary(preset, whole, "BPE", "vocab.json"))
    ids |= {token["content"]: token["id"] for token in whole.get("added_tokens") or ()}
    merges = _sentence_pieces.merges(whole["model"])
    return getattr(tokenizers, BYTE_PAIRS[origin])(vocabulary=ids, merges=merges)


def _vocabulary(preset, whole, kind, other):
    """Returns ids by token of a `tokenizer.json`. Raises UserError if it is missing or of another kind."""
    model = whole.get("model") or {}
    # Older files do not name their kind. SentencePiece's vocabularies are lists.
    if not isinstance(model.get("vocab"), dict) or ("merges" in model) != (kind == "BPE"):
        received = f"{model.get('type')!r} in tokenizer.json" if whole else "neither"
        raise UserError(f"{preset} must hold {other}, or a tokenizer.json of a {kind}. Received: {received}")
    return model["vocab"]


def _json(preset, name):
    """Returns what a JSON file of a preset holds, or an empty dict if there is no such file."""
    path = _files.file_of(preset, name)
    return json_file.read(path) if path else {}


READERS = {
    **dict.fromkeys(SENTENCE_PIECES, _sentence_piece),
    **dict.fromkeys(BYTE_LEVEL, _byte_level),
    **dict.fromkeys(BYTE_PAIRS, _byte_pairs),
    **dict.fromkeys(WORD_PIECE, _word_piece),
    "albert": _albert,
}
