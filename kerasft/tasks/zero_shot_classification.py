"""A label for a text by what the labels mean, or by asking a decoder: without examples, or with a few."""

import functools
import os

import tensorflow as tf

from kerasft import registry, surgery
from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.pipeline import prompts
from kerasft.tasks._head import PooledHead, SimilarityHead, normalized
from kerasft.tasks._text import text_preprocessor
from kerasft.tasks.text_classification import TextClassification

NOTHING = ("", "N/A", "[MASK]", "...")  # Texts that say nothing, by which labels are told to be favoured or not.


class ZeroShotClassification(TextClassification):
    """Classifies a text (`text`) by the label whose description is nearest to it in meaning, or by asking for it.

    Of an encoder, the head begins with the vectors that the backbone makes of the descriptions; it should be one that
    was trained to compare texts, such as a sentence encoder, or the preset that a run of `text_embedding` exports. With
    `prompt`, a decoder is asked, in the chat template of its vocabulary if it has one, and the label is the one whose
    description is likeliest to begin the answer. Either way `predict` and `evaluate` work at once; `fit` goes on from
    there, and so needs few examples.

    Args:
        labels: list of str. Names of the classes.
        descriptions: dict of str to str, or None. What each label means, in words, or how it is answered; None is the
            label itself.
        template: str. Around each description, which stands for `{}`, such as `"This film is {}."`
        prompt: str or None. A question to a decoder, in which `{}` stands for the text.
        scale: float above 0. What cosines are multiplied by to be logits: the more, the surer the scores.
        calibrate: bool. Whether a label that texts without meaning are near to, or answered with, is given less.
        **kwargs: of `TextClassification`.

    Example: >>> kerasft.FineTuner("zero_shot_classification", "starter:minilm_l6_en", labels=["sports", "politics"])
    Source: prototypes by the names of classes: Chang et al. 2008, https://cdn.aaai.org/AAAI/2008/AAAI08-132.pdf;
        prompts with words for labels: Schick & Schütze 2021, https://arxiv.org/abs/2001.07676; calibration: Zhao et
        al. 2021, https://arxiv.org/abs/2102.09690.
    """

    def __init__(  # noqa: PLR0913
        self, labels=None, descriptions=None, template="{}", prompt=None, scale=20.0, calibrate=True, **kwargs
    ):
        if kwargs.get("pair"):
            raise UserError("zero_shot_classification reads one text. Received: pair=True")
        super().__init__(labels=labels, **kwargs)
        if self.labels is None:
            raise UserError("zero_shot_classification needs labels=[…]. Received: labels=None")
        if not isinstance(descriptions, (dict, type(None))):
            raise UserError(f"descriptions must be a dict of labels to texts. Received: descriptions={descriptions!r}")
        self.descriptions = {str(label): text for label, text in (descriptions or {}).items()}
        wrong = [text for text in self.descriptions.values() if not isinstance(text, str)]
        if wrong:
            raise UserError(f"descriptions must be texts. Received: {wrong[0]!r}")
        unknown = sorted(set(self.descriptions) - set(self.labels))
        if unknown:
            raise UserError(f"descriptions must be of labels: {', '.join(self.labels)}. Received: {unknown[0]!r}")
        for name, value in {"template": template, "prompt": prompt}.items():
            if value is not None and (not isinstance(value, str) or value.count("{}") != 1):
                raise UserError(f"{name} must hold {{}} once. Received: {name}={value!r}")
        check("zero_shot_classification", "scale", scale, 0, low_is_allowed=False)
        self.template = template
        self.prompt = prompt
        self.scale = scale
        self.calibrated = calibrate

    def preprocessor(self, pretrained):
        if self.prompt is None:
            return super().preprocessor(pretrained)
        if not pretrained.causal:
            raise UserError(f"A prompt needs a decoder. Received: backbone={pretrained.name!r}, an encoder")
        own = {"template": prompts.template_of(pretrained.converter), "around": self.prompt}
        made = text_preprocessor(pretrained, self.sequence_length, functools.partial(prompts.PromptPreprocessor, **own))
        # What all answers begin with tells nothing: it is given, and what comes next is asked.
        made.lead = os.path.commonprefix(self._answers(made))
        return made

    def head(self, pretrained):
        reads, pooling = self.reads(pretrained)
        if self.prompt is None:
            return SimilarityHead(self.units, reads, pooling, self.scale)
        self.next_token = registry.find("losses", "next_token")(pretrained.backbone.token_embedding)
        return PooledHead(self.units, reads, "last", self.dropout)

    def begin(self, model, preprocessor):
        head = model.head
        part = surgery.Part(model, model.input, surgery.read_by(head))

        def vectors(texts):
            return head.pool(part(preprocessor(tf.constant(texts)), training=False))

        if self.prompt is None:
            head.vectors.assign(tf.transpose(normalized(vectors(self._described()))))
            bias = head.bias
        else:
            kernel, bias = head.logits.weights
            kernel.assign(tf.transpose(self.next_token.vectors(self._first_tokens(preprocessor))))
        if self.calibrated:
            bias.assign(-tf.reduce_mean(head(vectors(NOTHING)), axis=0))

    def _described(self):
        """Returns what each label means, in words."""
        return [self.template.replace("{}", self.descriptions.get(label, label)) for label in self.labels]

    def _answers(self, preprocessor):
        """Returns the ids of the answer for each label, as lists."""
        is_apart = preprocessor.template is None and not self.prompt[-1:].isspace()
        return preprocessor.tokenized([f" {text}" if is_apart else text for text in self._described()]).to_list()

    def _first_tokens(self, preprocessor):
        """Returns the id of the token by which the answer for each label is told from others."""
        first = [next(iter(ids[len(preprocessor.lead) :]), None) for ids in self._answers(preprocessor)]
        alike = [
            label
            for label, token in zip(self.labels or (), first, strict=True)
            if token is None or first.count(token) > 1
        ]
        if alike:
            raise UserError(
                "Answers must differ in the first token that is not the same for all; descriptions={label: …} says how "
                f"a label is answered. Received: {', '.join(alike)}"
            )
        return first

    def get_config(self):
        own = {"descriptions": self.descriptions, "template": self.template, "prompt": self.prompt}
        return {**super().get_config(), **own, "scale": self.scale, "calibrate": self.calibrated}
