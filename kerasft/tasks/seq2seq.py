"""A text for a text: translation, summaries."""

import functools
import warnings
from typing import ClassVar

import keras_hub

from kerasft.errors import UserError
from kerasft.pipeline import clean, generation, sequences
from kerasft.pipeline.text import class_for
from kerasft.tasks._language import WritingTask
from kerasft.tasks._text import check_sequence_length, most_tokens, preprocessor_of_kind

# KerasHub's T5 hands its attention a mask as an argument, and Keras takes it for one that is lost.
warnings.filterwarnings("ignore", r"Layer '.*' \(of type T5MultiHeadAttention\)")


class Seq2seq(WritingTask):
    """Teaches an encoder with a decoder, such as T5 or BART, to write a text (`target`) for each `text`.

    What is longer than `sequence_length` is cut, and so is a target of more than `max_new_tokens`, with a warning. The
    targets of validation data are compared with what the model writes: BLEU, chrF and ROUGE.

    Args:
        prefix: str. What each text begins with; T5 was trained with such as `"translate English to German: "`.
        max_new_tokens: int. Most tokens of a target, with the one that ends it, learned or written.
        sampler: str or dict. How tokens are chosen: `"greedy"`, `{"name": "beam", "num_beams": 4}` or another of
            `keras_hub.samplers`.
        sequence_length: int, 8 or more, or None. Greatest length of a text in tokens; None is the backbone's, 512 at
            most.
        columns: dict. The data's names for ours, such as `{"text": "article", "target": "summary"}`.

    Example: >>> kerasft.FineTuner("seq2seq", "t5_small_multi").fit("pairs.csv")
    Source: Sutskever et al. 2014, https://arxiv.org/abs/1409.3215.
    """

    inputs = ("text",)
    target: ClassVar[str] = "target"
    evaluation: ClassVar[str] = "writing"
    compares_answers: ClassVar[bool] = True
    is_encoder_decoder: ClassVar[bool] = True
    generator = generation.Writing

    def __init__(self, prefix="", max_new_tokens=64, sampler="greedy", sequence_length=None, **kwargs):
        super().__init__(max_new_tokens, sampler, **kwargs)
        if not isinstance(prefix, str):
            raise UserError(f"prefix must be a text. Received: prefix={prefix!r}")
        check_sequence_length(sequence_length)
        self.prefix = prefix
        self.sequence_length = sequence_length

    # === Data ===

    def oddities(self, frame):
        return [(clean.conflicting(frame, ["text"], "target"), "the same text with different targets")]

    # === Model ===

    def preprocessor(self, pretrained):
        cls = class_for(pretrained.backbone, keras_hub.models.Seq2SeqLMPreprocessor)
        if cls is None:
            raise UserError(f"seq2seq needs an encoder with a decoder. Received: backbone={pretrained.name!r}")
        theirs = cls(pretrained.converter)
        theirs.build(None)
        source, written = theirs.encoder_packer, theirs.decoder_packer
        own = {"prefix": self.prefix, "begin": _ids(written.start_value), "room": self.max_new_tokens}
        limit = most_tokens(pretrained.backbone)
        if limit and len(own["begin"]) + self.max_new_tokens > limit:
            raise UserError(
                f"{pretrained.name} writes {limit} tokens at most. Received: max_new_tokens={self.max_new_tokens}"
            )
        marks = {"start": _ids(source.start_value), "separator": [], "end": _ids(source.end_value)}
        kind = functools.partial(sequences.SourcePreprocessor, **own)
        return preprocessor_of_kind(kind, pretrained, marks, self.sequence_length)

    def head(self, pretrained):
        made, backbone = super().head(pretrained), pretrained.backbone
        if isinstance(backbone, keras_hub.models.T5Backbone) and backbone.tie_embedding_weights:
            made.scale = backbone.hidden_dim**-0.5
        return made

    def examples(self, frame, preprocessor, with_targets=True):
        made = sequences.tokenize(preprocessor, *(frame[name].tolist() for name in ("text", "target")))
        if made.cut:
            what = f"{made.cut:,} of {len(frame):,} targets lose their end: they are longer than max_new_tokens"
            warnings.warn(f"{what}={preprocessor.room}.", clean.DataWarning, stacklevel=2)
        return made

    def get_config(self):
        return {**super().get_config(), "prefix": self.prefix, "sequence_length": self.sequence_length}


def _ids(value):
    """Returns the ids of a mark of KerasHub's: a number, a list of them, or None."""
    return [] if value is None else [value] if isinstance(value, int) else list(value)
