"""ALBERT's tokenizer as Hugging Face has it."""

import keras
import keras_hub
import tensorflow as tf
import tensorflow_text as tf_text

from kerasft.presets._bert import lowered

# Without the vertical tab, which the table of characters that comes with ALBERT's pieces leaves out.
SPACE = r"[\t\n\f\r\x{85}\p{Z}]"
# SentencePiece would end the text at a null. This code point, which Unicode keeps from text, is as unknown to it.
NULL = "\U0010fffe"


@keras.saving.register_keras_serializable("kerasft")
class ExactAlbertTokenizer(keras_hub.tokenizers.AlbertTokenizer):
    """SentencePiece behind Hugging Face's normaliser, the same ids eagerly and in a graph.

    KerasHub's own lowers nothing, and to an uncased vocabulary each capital is unknown. Hangul, which `tokenizers`
    leaves taken apart, is put together again, as ALBERT's own code does.

    Args:
        proto: bytes of a SentencePiece model, or name of a file with them.
        lowercase: bool.
        strip_accents: bool. True to take characters apart (NFKD) and leave out the marks.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    Source: `AlbertTokenizer` of https://github.com/huggingface/transformers.
    """

    def __init__(self, proto=None, lowercase=True, strip_accents=True, **kwargs):
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        super().__init__(proto, **kwargs)

    def set_proto(self, proto):
        super().set_proto(proto)
        self.pieces = self.proto and tf_text.SentencepieceTokenizer(self.proto, tf.int32)

    def tokenize(self, inputs):
        return self.pieces.tokenize(self.normalize(tf.convert_to_tensor(inputs)))

    def normalize(self, texts):
        """Returns the texts with plain quotes and spaces, lowered and stripped as the model wants it."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        for pattern, character in (("``|''", '"'), (SPACE, " "), (r"\x00", NULL)):
            texts = tf.strings.regex_replace(texts, pattern, character)
        if self.strip_accents:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFKD"), r"\p{M}", "")
        return lowered(texts) if self.lowercase else texts

    def get_config(self):
        return {**super().get_config(), "lowercase": self.lowercase, "strip_accents": self.strip_accents}
