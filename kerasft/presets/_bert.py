"""BERT as Hugging Face has it, to the last digit and the last token id."""

import keras
import keras_hub
import tensorflow as tf
import tensorflow_text as tf_text

from kerasft import hub_blocks

SPACE = r"[\t\n\r\p{Z}]"
# Control, format and private characters, and the mark of bytes that were no UTF-8.
DROPPED = r"[\p{Cc}\p{Cf}\p{Co}\x{fffd}]"
PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
# The blocks of `tokenizers`' BertNormalizer; its last but two begins at 2B920, where BERT's own code has 2B820.
CHINESE = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
LONGEST_WORD = 100  # in characters; a longer one is unknown
BYTES_OF_A_CHARACTER = 4


@keras.saving.register_keras_serializable("kerasft")
class ExactBertBackbone(keras_hub.models.BertBackbone):
    """BERT with the erf form of GELU, as `"hidden_act": "gelu"` means it.

    KerasHub's own always takes the tanh approximation: 3e-3 off in the last hidden state of a 6-layer model.

    Args:
        has_pooler: bool. False if the weights came without those of `pooled_output`, which are random then.
        *args, **kwargs: of KerasHub's.

    Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805; Hendrycks and Gimpel 2016,
        https://arxiv.org/abs/1606.08415.
    """

    def __init__(self, *args, has_pooler=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.has_pooler = has_pooler
        for layer in self.transformer_layers:
            hub_blocks.set_feed_forward_activation(layer, keras.activations.gelu)

    def get_config(self):
        return {**super().get_config(), "has_pooler": self.has_pooler}


@keras.saving.register_keras_serializable("kerasft")
class ExactBertTokenizer(keras_hub.tokenizers.BertTokenizer):
    """WordPiece with Hugging Face's normaliser, the same ids eagerly and in a graph.

    KerasHub's own leaves accents on, folds case instead of lowering it, and does not split at a no-break space.
    Of the 1.1 million code points 684 are treated otherwise than by `tokenizers`, whose tables of Unicode are
    older; they belong to scripts added since 2015.

    Args:
        vocabulary: list of str, or name of a file with one piece a line.
        lowercase: bool.
        strip_accents: bool.
        split_on_cjk: bool. True if each Chinese character is a word.

    Input shape: `()` or `(batch,)` strings.
    Output shape: `(length,)`, or ragged `(batch, None)`, int32.
    Raises: ValueError if special tokens in strings are asked for: a user's "[SEP]" is text like any other.
    Source: `BertNormalizer`, `BertPreTokenizer` and `WordPiece` of https://github.com/huggingface/tokenizers.
    """

    backbone_cls = ExactBertBackbone

    def __init__(self, vocabulary=None, lowercase=True, strip_accents=True, split_on_cjk=True, **kwargs):
        super().__init__(
            vocabulary, lowercase=lowercase, strip_accents=strip_accents, split_on_cjk=split_on_cjk, **kwargs
        )
        if self.special_tokens_in_strings:
            raise ValueError("Special tokens are not read from strings. Received: special_tokens_in_strings=True")

    def set_vocabulary(self, vocabulary):
        super().set_vocabulary(vocabulary)
        self.word_piece = self.vocabulary and tf_text.FastWordpieceTokenizer(
            vocab=self.vocabulary,
            suffix_indicator=self.suffix_indicator,
            unknown_token=self.oov_token,
            max_bytes_per_word=LONGEST_WORD * BYTES_OF_A_CHARACTER,
            token_out_type=tf.int32,
            no_pretokenization=True,
        )

    def tokenize(self, inputs):
        texts = tf.convert_to_tensor(inputs)
        words = self.split_words(self.normalize(tf.reshape(texts, (-1,))))
        too_long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > LONGEST_WORD
        words = words.with_flat_values(tf.where(too_long, self.oov_token, words.flat_values))
        ids = self.word_piece.tokenize(words).merge_dims(-2, -1)
        return ids if texts.shape.rank else ids[0]

    def normalize(self, texts):
        """Returns the texts with plain spaces, without controls, and lowered and stripped as the model wants it."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, SPACE, " "), DROPPED, "")
        if self.strip_accents:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), r"\p{Mn}", "")
        if self.lowercase:
            texts = lowered(texts)
        return texts

    def split_words(self, texts):
        """Returns the words and punctuation marks, ragged `(batch, None)`."""
        kept = f"{PUNCTUATION}|{CHINESE}" if self.split_on_cjk else PUNCTUATION
        return tf_text.regex_split(texts, rf"\s|{kept}", kept)

    def get_config(self):
        return {**super().get_config(), "split_on_cjk": self.split_on_cjk}


def lowered(texts):
    """Returns the texts lowered character by character; TensorFlow's lowering knows of the final sigma."""
    return tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), encoding="utf-8")
