"""What tasks share that learn which token is right among all of a vocabulary."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft import deltas, quantization, registry, surgery
from kerasft.errors import UserError
from kerasft.pipeline import clean, generation
from kerasft.tasks._head import NextTokenHead
from kerasft.tasks._text import EDGE_CASES, TextInputs


class LanguageTask(TextInputs):
    """Tokens are what is learned. A subclass says which, and gives the head that goes with the loss."""

    evaluation: ClassVar[str] = "language"
    monitor: ClassVar[tuple[str, str]] = ("val_loss", "min")
    answers_rows: ClassVar[bool] = False
    scores_tokens: ClassVar[bool] = True
    head_class: Any

    def __init__(self, columns=None):  # No dropout: the last layer is the embedding of the tokens.
        super().__init__(columns=columns)

    def part_of(self, pretrained):
        return pretrained

    def prepare(self, frame, with_targets=True, quarantine=None):
        frame = self._chosen(frame, with_targets)
        problems = [problem for name in frame for problem in clean.text_problems(frame, name)]
        return (quarantine or clean.Quarantine()).admit(frame, problems)

    def frame_of(self, inputs):
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        frame = pd.DataFrame({self.inputs[0]: pd.Series(inputs, range(1, len(inputs) + 1), object)})
        frame.attrs["origin"] = "inputs"
        return frame

    def targets(self, frame):
        """Returns nothing for each row, `(rows, 0)`: what is right is in the examples, token by token."""
        return np.zeros((len(frame), 0), "float32")

    def head(self, pretrained):
        self.next_token = registry.find("losses", "next_token")(pretrained.backbone.token_embedding)
        return self.head_class(self.next_token)

    def loss(self):
        return self.next_token

    def metrics(self):
        return []

    def get_config(self):
        return {"columns": self.columns}


class WritingTask(LanguageTask):
    """Answers are texts, written token by token. A subclass says what is asked, and which generator writes.

    Args:
        max_new_tokens: int. sampler: str or dict.
    """

    head_class = NextTokenHead
    generator: ClassVar[type[generation.Generator]]

    def __init__(self, max_new_tokens, sampler, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(max_new_tokens, int) or isinstance(max_new_tokens, bool) or max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be a whole number, 1 or more. Received: {max_new_tokens!r}")
        generation.sampler(sampler)
        self.max_new_tokens = max_new_tokens
        self.sampler = sampler

    def head(self, pretrained):
        self._generator = self.generator(pretrained, self.sampler)
        return super().head(pretrained)

    def serve(self, model, preprocessor, texts):
        return self.decode(self._generator(preprocessor, preprocessor.rows(texts)["token_ids"]), preprocessor)

    @surgery.forgotten_gradients()
    def generated(self, model, preprocessor, frame):
        """Returns what `decode` does for the rows of a frame."""
        rows = self.asked(preprocessor, frame)
        state = None if quantization.of(model) else "merged"  # Quantized kernels are made anew each time.
        with deltas.merged(model):
            found = self._generator.in_batches(preprocessor, rows, state)
        return self.decode(found, preprocessor)

    def snapshot(self, model, preprocessor, frame):
        """Returns the same for few rows while the model is trained, with its deltas beside the weights, not in them."""
        found = self._generator.in_batches(preprocessor, self.asked(preprocessor, frame), "training")
        return self.decode(found, preprocessor)

    def asked(self, preprocessor, frame):
        """Returns the ids of what the generator is given for each row of a frame; ragged."""
        return preprocessor.rows(tf.constant(frame[self.sampled[0]].tolist()))["token_ids"]

    def decode(self, outputs, preprocessor):
        """Returns a text for each row, `(batch,)` strings, by the name of the target.

        Args:
            outputs: ragged `(batch, None)` int32, ids of tokens. preprocessor: that of the task.
        """
        texts = preprocessor.tokenizer.detokenize(outputs)
        return {self.target: tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")}

    def answers(self, decoded):
        """Returns the same as an array of str."""
        found = [text.decode() for text in decoded[self.target].numpy()]
        return {self.target: np.array(found, dtype=object)}

    def edge_cases(self):
        return self.frame_of(EDGE_CASES)

    def evaluation_arguments(self):
        return {"shown": self.shown}

    def get_config(self):
        return {**super().get_config(), "max_new_tokens": self.max_new_tokens, "sampler": self.sampler}
