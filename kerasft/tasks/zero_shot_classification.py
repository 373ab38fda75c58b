"""A label for a text by what the labels mean: without examples, or with a few."""

import tensorflow as tf

from kerasft import surgery
from kerasft.checks import check
from kerasft.errors import UserError
from kerasft.tasks._head import SimilarityHead, normalized
from kerasft.tasks.text_classification import TextClassification

NOTHING = ("", "N/A", "[MASK]", "...")  # Texts that say nothing, by which labels are told to be favoured or not.


class ZeroShotClassification(TextClassification):
    """Classifies a text (`text`) by the label whose description is nearest to it in meaning.

    The head begins with the vectors that the backbone makes of the descriptions, so `predict` and `evaluate` work at
    once; `fit` goes on from there, and so needs few examples. The backbone should be one that was trained to compare
    texts, such as a sentence encoder, or the preset that a run of `text_embedding` exports.

    Args:
        labels: list of str. Names of the classes.
        descriptions: dict of str to str, or None. What each label means, in words; None is the label itself.
        template: str. Around each description, which stands for `{}`, such as `"This film is {}."`
        scale: float above 0. What cosines are multiplied by to be logits: the more, the surer the scores.
        calibrate: bool. Whether a label that texts without meaning are near to is given less.
        **kwargs: of `TextClassification`.

    Example: >>> kerasft.FineTuner("zero_shot_classification", "starter:minilm_l6_en", labels=["sports", "politics"])
    Source: prototypes by the names of classes: Chang et al. 2008, https://cdn.aaai.org/AAAI/2008/AAAI08-132.pdf;
        calibration: Zhao et al. 2021, https://arxiv.org/abs/2102.09690.
    """

    def __init__(self, labels=None, descriptions=None, template="{}", scale=20.0, calibrate=True, **kwargs):  # noqa: PLR0913
        if kwargs.get("pair"):
            raise UserError("zero_shot_classification reads one text. Received: pair=True")
        super().__init__(labels=labels, **kwargs)
        if self.labels is None:
            raise UserError("zero_shot_classification needs labels=[…]. Received: labels=None")
        self.descriptions = dict(descriptions or {})
        unknown = sorted(set(self.descriptions) - set(self.labels))
        if unknown:
            raise UserError(f"descriptions must be of labels: {', '.join(self.labels)}. Received: {unknown[0]!r}")
        if not isinstance(template, str) or template.count("{}") != 1:
            raise UserError(f"template must hold {{}} once. Received: template={template!r}")
        check("zero_shot_classification", "scale", scale, 0, low_is_allowed=False)
        self.template = template
        self.scale = scale
        self.calibrated = calibrate

    def head(self, pretrained):
        reads, pooling = self.reads(pretrained)
        return SimilarityHead(self.units, reads, pooling, self.scale)

    def begin(self, model, preprocessor):
        head = model.head
        part = surgery.Part(model, model.input, surgery.read_by(head))

        def vectors(texts):
            return head.pool(part(preprocessor(tf.constant(texts)), training=False))

        described = [self.template.format(self.descriptions.get(label, label)) for label in self.labels]
        head.vectors.assign(tf.transpose(normalized(vectors(described))))
        if self.calibrated:
            head.bias.assign(-tf.reduce_mean(head(vectors(NOTHING)), axis=0))

    def get_config(self):
        own = {"descriptions": self.descriptions, "template": self.template, "scale": self.scale}
        return {**super().get_config(), **own, "calibrate": self.calibrated}
