"""What comes after a prompt: instructions, chats, texts of a domain."""

import functools
import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean, generation, prompts
from kerasft.tasks._language import WritingTask
from kerasft.tasks._text import check_sequence_length, text_preprocessor

LEAST = 8  # Tokens of a prompt that must have room.
LEAD = 100  # Characters of a text that are its prompt, where one is needed.
FORMS = {"messages": ("messages",), "prompt": ("prompt", "completion"), "text": ("text",)}


class CausalLm(WritingTask):
    """Teaches a decoder to answer: from prompts and completions, from conversations, or from plain texts.

    Data have `prompt` and `completion`; or `messages`, lists of `{"role": …, "content": …}` with the roles `system`,
    `user` and `assistant`; or `text`. Only completions and the assistant's messages are learned, of texts every token.
    Where the vocabulary has the special tokens of a chat template, prompts and messages are written with it; names of
    special tokens within them are text like any other.

    What is longer than `sequence_length` loses its beginning, with a warning; texts become several rows.

    Args:
        form: str or None. `"messages"`, `"prompt"` or `"text"`; learned from the training data's columns if None.
        template: str or None. `"auto"`, the vocabulary's own; a name of `kerasft.pipeline.prompts.TEMPLATES`; None for
            prompts and completions as they are.
        system: str or None. A system message for conversations without one.
        max_new_tokens: int. Most that `predict` and the export generate.
        sampler: str or dict. How they choose tokens: `"greedy"`, `"top_p"`, `{"name": "top_k", "k": 5}` or another of
            `keras_hub.samplers`.
        sequence_length: int, 16 or more, or None. Greatest length in tokens; None is the backbone's, 512 at most.
        columns: dict. The data's names for ours, such as `{"prompt": "question", "completion": "answer"}`.

    Example: >>> kerasft.FineTuner("causal_lm", "starter:smollm2_135m_instruct", method="lora")
    """

    target: ClassVar[str] = "completion"
    converses: ClassVar[bool] = True
    generator = generation.Continuing

    def __init__(  # noqa: PLR0913
        self,
        form=None,
        template="auto",
        system=None,
        max_new_tokens=64,
        sampler="greedy",
        sequence_length=None,
        **kwargs,
    ):
        super().__init__(max_new_tokens, sampler, **kwargs)
        if form not in (None, *FORMS):
            raise UserError(f"form must be one of {', '.join(FORMS)}. Received: form={form!r}")
        if template not in ("auto", None, *prompts.TEMPLATES):
            raise UserError(
                f"template must be 'auto', None or one of {', '.join(prompts.TEMPLATES)}. Received: {template!r}"
            )
        if not isinstance(system, (str, type(None))):
            raise UserError(f"system must be a text. Received: system={system!r}")
        check_sequence_length(sequence_length, 16)
        self.form = form
        self.template = template
        self.system = system
        self.sequence_length = sequence_length

    # === Data ===

    @property
    def inputs(self):
        """Names of the columns that are read."""
        return FORMS[self.form or "prompt"][:1]

    sampled = ("prompt",)

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns the columns of the form; without targets `prompt`, or `messages` that end with the user's."""
        form = self.form
        if with_targets:
            present = {ours for names in FORMS.values() for ours in names if self.columns.get(ours, ours) in frame}
            form = form or next((name for name, columns in FORMS.items() if present >= set(columns)), "prompt")
            wanted = FORMS[form]
        else:
            has_messages = {"messages", self.columns.get("messages")} & set(frame)
            wanted = ("messages",) if has_messages else ("prompt",)
        frame = self._chosen(frame, with_targets, dict.fromkeys(wanted, True))
        if wanted == ("messages",):
            problems = clean.message_problems(frame, "messages", with_answers=with_targets)
        else:
            problems = [problem for name in wanted for problem in clean.text_problems(frame, name)]
        frame = (quarantine or clean.Quarantine()).admit(frame, problems)
        if with_targets:
            self.form = form
        return frame

    def oddities(self, frame):
        if self.form != "prompt":
            return []
        return [(clean.conflicting(frame, ["prompt"], "completion"), "the same prompt with different completions")]

    @property
    def learned(self):
        return {} if self.form is None else {"form": self.form}

    def shown(self, frame):
        """Returns `prompt` and the right `completion`."""
        right = [self._completion(*row) for row in zip(*(frame[name] for name in frame), strict=True)]
        return self.served(frame).assign(completion=right)

    def _completion(self, first, *rest):
        if self.form == "messages":
            return clean.as_turns(first)[-1][1]
        return first[LEAD:] if self.form == "text" else rest[0]

    def served(self, frame):
        """Returns `prompt`: as it is, the last message of the user, or the first characters of a text."""
        if "messages" in frame:
            turns = [[content for role, content in clean.as_turns(row) if role == "user"] for row in frame["messages"]]
            found = [contents[-1] if contents else " " for contents in turns]
        else:
            found = [text[:LEAD] for text in frame["text"]] if "text" in frame else frame["prompt"].tolist()
        return pd.DataFrame({"prompt": pd.Series(found, frame.index, object)})

    def frame_of(self, inputs):
        """Returns a frame of prompts, or of conversations, lists of messages that end with the user's."""
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        are_texts = all(isinstance(row, str) for row in inputs)
        frame = pd.DataFrame({"prompt" if are_texts else "messages": pd.Series(inputs, dtype=object)})
        frame.index = range(1, len(inputs) + 1)
        frame.attrs["origin"] = "inputs"
        return frame

    # === Model ===

    def preprocessor(self, pretrained):
        if not pretrained.causal:
            raise UserError(f"causal_lm needs a decoder. Received: backbone={pretrained.name!r}, an encoder")
        own = {"template": self._template(pretrained.converter), "system": self.system, "room": self.max_new_tokens}
        kind = functools.partial(prompts.PromptPreprocessor, **own)
        preprocessor = text_preprocessor(pretrained, self.sequence_length, kind)
        if preprocessor.text_length < LEAST:
            around = preprocessor.sequence_length - self.max_new_tokens - preprocessor.text_length
            raise UserError(
                f"system and max_new_tokens leave no room for a prompt of {LEAST} tokens or more. Received: "
                f"max_new_tokens={self.max_new_tokens}, sequence_length={preprocessor.sequence_length}, "
                f"tokens of template and system message: {around}"
            )
        return preprocessor

    def _template(self, tokenizer):
        """Returns the name of the template, or None."""
        if self.form == "text" or self.template is None:
            return None
        found = prompts.template_of(tokenizer)
        if self.template in ("auto", found):
            if found is None and self.form == "messages":
                raise UserError(
                    "messages need a vocabulary with the special tokens of a chat template: "
                    f"{', '.join(prompts.TEMPLATES)}. Received: {tokenizer.name}"
                )
            return found
        raise UserError(f"The vocabulary lacks special tokens of this template. Received: template={self.template!r}")

    def examples(self, frame, preprocessor, with_targets=True):
        columns, pieces = [frame[name].array for name in frame], functools.partial(self._pieces, preprocessor)
        made = prompts.tokenize(preprocessor, columns, pieces, is_text=self.form == "text")
        if made.cut:
            what = f"{made.cut:,} of {len(frame):,} rows lose their beginning: they are longer than sequence_length"
            warnings.warn(f"{what}={preprocessor.sequence_length} tokens.", clean.DataWarning, stacklevel=2)
        return made

    def _pieces(self, preprocessor, first, completion=None):
        if self.form == "messages":
            return preprocessor.conversation(clean.as_turns(first))
        end = prompts.Piece("", tuple(preprocessor.marks["end"]), True)
        if self.form == "text":
            return [prompts.Piece(first, (), True), end]
        if preprocessor.template is None:
            return [prompts.Piece(first, (), False), prompts.Piece(completion, (), True), end]
        return preprocessor.conversation([("user", first), ("assistant", completion)])

    # === Answers ===

    def signature(self):
        return {"prompt": tf.TensorSpec((None,), tf.string, name="prompt")}

    def request(self, frame):
        return {"prompt": np.array(frame["prompt"].tolist(), dtype=object)}

    def asked(self, preprocessor, frame):
        """Returns the ids of prompts, or of conversations, of a frame, up to where answers begin; ragged."""
        if "messages" not in frame:
            return super().asked(preprocessor, frame)
        if preprocessor.template is None:
            raise UserError("The model has no chat template: give prompts. Received: messages")
        columns = [frame["messages"].array]
        made = prompts.tokenize(
            preprocessor, columns, lambda row: preprocessor.prompt(clean.as_turns(row)), room=self.max_new_tokens
        )
        return tf.RaggedTensor.from_row_splits(made.token_ids, made.offsets)

    def get_config(self):
        own = ("form", "template", "system", "sequence_length")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
