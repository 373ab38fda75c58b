"""A label for a text, or for a pair of texts."""

from kerasft.tasks._classification import Classification
from kerasft.tasks._text import TextTask


class TextClassification(TextTask, Classification):
    """Classifies one text (`text`) or two (`text`, `text_pair`): sentiment, topic, entailment, paraphrase.

    Works with every KerasHub encoder or decoder backbone: encoders pool over the tokens, decoders take the last.

    Args:
        labels: list of str or None. Names of the classes in order; learned from the training data if None.
        pair: bool. Two texts each example.
        multi_label: bool. Any number of labels each example, given as a list or joined by `|`.
        pooling: str. `"auto"`, `"mean"`, `"first"`, `"last"` or `"pooled"`, the backbone's own.
        sequence_length: int, 8 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        dropout: float. Before the last layer.
        columns: dict. The data's names for ours, such as `{"text": "review", "label": "stars"}`.

    Example: >>> kerasft.FineTuner(task="text_classification", backbone="bert_base_en_uncased")
    """

    @property
    def units(self):
        """Width of the output."""
        return self.num_classes
