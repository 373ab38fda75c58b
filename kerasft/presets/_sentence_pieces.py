"""Models of SentencePiece as a `tokenizer.json` describes them, which is all that transformers 5 saves."""

import base64
import re

from kerasft.errors import UserError

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")  # How XLM-RoBERTa's vocabulary begins, which its pieces do not.


def proto(whole, place, is_fairseq=False):
    """Returns a SentencePiece model, serialized, that gives the same ids as `tokenizers` does.

    But for two rare ones, where SentencePiece, with which the model was trained, differs: it puts a space also before a
    text that begins with one, and does not take U+0085 for white space.

    Args:
        whole: dict. What `tokenizer.json` holds: a Unigram, or a BPE of characters.
        place: str. Where it lies, for messages.
        is_fairseq: bool. True if ids are those of XLM-RoBERTa, for KerasHub's tokenizer that moves them.

    Raises: UserError for another kind of tokenizer, or a vocabulary with gaps.
    Source: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
    """
    from sentencepiece import sentencepiece_model_pb2

    model = whole.get("model") or {}
    steps = [*_steps(whole.get("normalizer")), *_steps(whole.get("pre_tokenizer"))]
    is_unigram = isinstance(model.get("vocab"), list)
    is_of_characters = "merges" in model and not any(step["type"] == "ByteLevel" for step in steps)
    if not (is_unigram or is_of_characters):
        kind = model.get("type") if whole else None
        raise UserError(
            f"{place} must hold a model of SentencePiece, or a tokenizer.json of a Unigram or of a BPE of characters. "
            f"Received: {kind!r} with {[step['type'] for step in steps]}"
        )
    # protobuf makes the module's classes as it is imported, where no type checker sees them.
    made = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    pieces = _pieces(model, whole.get("added_tokens") or (), place)
    for piece, score, kind in _moved(pieces, place) if is_fairseq else pieces:
        made.pieces.add(piece=piece, score=score, type=made.SentencePiece.Type.Value(kind))
    trainer, normalizer = made.trainer_spec, made.normalizer_spec
    trainer.model_type = trainer.UNIGRAM if is_unigram else trainer.BPE
    trainer.vocab_size = len(made.pieces)
    trainer.byte_fallback = any(piece.type == piece.BYTE for piece in made.pieces)
    trainer.unk_piece = next(piece.piece for piece in made.pieces if piece.type == piece.UNKNOWN)
    normalizer.add_dummy_prefix = _begins_with_a_space(steps)
    normalizer.remove_extra_whitespaces = is_unigram
    for step in steps:
        normalizer.precompiled_charsmap += base64.b64decode(step.get("precompiled_charsmap") or "")
    return made.SerializeToString()


def normalizer_steps(whole):
    """Returns the names of what the normalizer of a `tokenizer.json` does, such as `{"Lowercase"}`."""
    return {step["type"] for step in _steps(whole.get("normalizer"))}


def merges(model):
    """Returns those of a BPE as strings with a space, as older files have them; newer ones have pairs."""
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _steps(value):
    """Yields the dicts of a normalizer or pre-tokenizer, those within a sequence one by one."""
    if not value:
        return
    inner = value.get("normalizers", value.get("pretokenizers"))
    if inner is None:
        yield value
    for step in inner or ():
        yield from _steps(step)


def _pieces(model, added, place):
    """Returns tuples of each piece, its score and the name of its type, in the order of their ids."""
    if isinstance(model["vocab"], list):
        found = {index: (piece, score) for index, (piece, score) in enumerate(model["vocab"])}
        unknown = found.get(model.get("unk_id"), (None,))[0]
    else:
        ranks = {}  # Of merges to one piece the first counts.
        for rank, merge in enumerate(merges(model)):
            ranks.setdefault(merge.replace(" ", ""), rank)
        found = {index: (piece, -ranks.get(piece, len(ranks))) for piece, index in model["vocab"].items()}
        unknown = model.get("unk_token") or "<unk>"  # Llamas do not name it: with bytes nothing is unknown.
    found |= {token["id"]: (token["content"], 0.0) for token in added}
    if sorted(found) != list(range(len(found))):
        raise UserError(f"The ids of tokenizer.json in {place} must be 0, 1, 2, … Received: {len(found)} with gaps")
    if unknown not in (piece for piece, _ in found.values()):
        raise UserError(f"The tokenizer.json in {place} must say what is unknown. Received: {unknown!r}")
    kinds = {token["content"]: "CONTROL" if token.get("special") else "USER_DEFINED" for token in added}
    kinds[unknown] = "UNKNOWN"
    if model.get("byte_fallback"):
        kinds |= {piece: "BYTE" for piece, _ in found.values() if BYTE.fullmatch(piece)}
    return [(*found[index], kinds.get(found[index][0], "NORMAL")) for index in range(len(found))]


def _moved(pieces, place):
    """Returns XLM-RoBERTa's pieces as SentencePiece numbers them, from whose ids KerasHub makes those of the model."""
    beginning = tuple(piece for piece, *_ in pieces[: len(FAIRSEQ)])
    if beginning != FAIRSEQ or pieces[-1][0] != "<mask>":
        raise UserError(
            f"The vocabulary of an XLM-RoBERTa begins with {', '.join(FAIRSEQ)} and ends with <mask>. "
            f"Received: {', '.join(beginning)} … {pieces[-1][0]} in {place}"
        )
    start, _, end, unknown = pieces[: len(FAIRSEQ)]
    return [unknown, start, end, *pieces[len(FAIRSEQ) : -1]]


def _begins_with_a_space(steps):
    """Returns whether a text gets a space in front, as words within it have one."""
    for step in steps:
        is_asked = step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True)
        if step["type"] == "Prepend" or (step["type"] == "Metaspace" and is_asked):
            return True
    return False
