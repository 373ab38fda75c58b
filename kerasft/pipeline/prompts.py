"""Prompts and what follows them as token ids: which tokens are learned, and how conversations are written."""

import dataclasses
import functools
import itertools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasft.pipeline import _kept
from kerasft.pipeline.text import PARTS, Parts, TextPreprocessor, as_ragged, column, flat, in_parallel, slices

GIVEN = "\0"  # Stands for a text that is not known yet; no text holds it.


class Template(NamedTuple):
    """How a message is written.

    Attributes:
        before: tuple of str. What comes before its content, special tokens by their names; `{role}` is its role.
        after: tuple of str. What comes after it; after an answer, the first is learned and ends it.
        roles: dict of str to str. Names of roles where the template has others.
    """

    before: tuple
    after: tuple
    roles: dict = {}


# By the special tokens that a vocabulary must have. What is no special token is text.
TEMPLATES = {
    "chatml": Template(("<|im_start|>", "{role}\n"), ("<|im_end|>", "\n")),
    "llama3": Template(("<|start_header_id|>", "{role}", "<|end_header_id|>", "\n\n"), ("<|eot_id|>",)),
    "gemma": Template(("<start_of_turn>", "{role}\n"), ("<end_of_turn>", "\n"), {"assistant": "model"}),
}


class Piece(NamedTuple):
    """A part of a row: text to tokenize, or ids; and whether its tokens are learned."""

    text: str
    ids: tuple
    is_learned: bool


@keras.saving.register_keras_serializable("kerasft")
class PromptPreprocessor(TextPreprocessor):
    """Turns prompts and conversations into a decoder's inputs.

    Args:
        template: str or None. A name of `TEMPLATES`, for messages; None for texts as they are.
        system: str or None. What a conversation begins with that has no system message.
        room: int. Tokens that prompts leave free for what is generated.
        around: str. A prompt, in which `{}` stands for the text that is given. lead: ids that an answer begins with.
        **kwargs: of `TextPreprocessor`.
    """

    def __init__(self, *args, template=None, system=None, room=0, around="{}", lead=(), **kwargs):  # noqa: PLR0913
        super().__init__(*args, **kwargs)
        self.template = template
        self.system = system
        self.room = room
        self.around = around
        self.lead = list(lead)

    def conversation(self, turns):
        """Returns the pieces of pairs of role and content. Of the assistant's, content and end are learned."""
        if self.system is not None and turns[0][0] != "system":
            turns = [("system", self.system), *turns]
        made = []
        for role, content in turns:
            is_learned = role == "assistant"
            first, *rest = [self._piece(part) for part in self._template.after]
            made += [*self._before(role), Piece(content, (), is_learned), first._replace(is_learned=is_learned), *rest]
        return made

    def prompt(self, turns):
        """Returns the pieces of a text, or of the messages of a conversation, up to where an answer begins."""
        if isinstance(turns, str):
            turns = [("user", turns)]
        if self.template is None:
            return [Piece(content, (), False) for _, content in turns]
        said = [piece._replace(is_learned=False) for piece in self.conversation(turns)]
        return [*said, *self._before("assistant")]

    @property
    def stops(self):
        """Ids of the tokens that end what is generated."""
        ends = () if self.template is None else self._piece(self._template.after[0]).ids
        return tuple(dict.fromkeys((*ends, *self.marks["end"])))

    @property
    def _template(self):
        return TEMPLATES[self.template]

    def _before(self, role):
        role = self._template.roles.get(role, role)
        return [self._piece(part.format(role=role)) for part in self._template.before]

    def _piece(self, part):
        if part in special(self._template):
            return Piece("", (self.tokenizer.token_to_id(part),), False)
        return Piece(part, (), False)

    @property
    def text_length(self):
        """Tokens of `sequence_length` that are left for a text; 0 or less if what is around it leaves none."""
        return self._around_text()[2]

    def _around_text(self):
        """Returns the ids before and after a text that is given, as two lists, and how many tokens it may have."""
        pieces = self.prompt(self.around.replace("{}", GIVEN))
        at = next(number for number, piece in enumerate(pieces) if GIVEN in piece.text)
        before, _, after = (pieces[at]._replace(text=part) for part in pieces[at].text.partition(GIVEN))
        begin = [*self.marks["start"], *self._ids([*pieces[:at], before])]
        end = [*self._ids([after, *pieces[at + 1 :]]), *self.lead]
        return begin, end, self.sequence_length - self.room - len(begin) - len(end)

    def _pack(self, texts):
        """Returns the ids of prompts of one message each; a text that is too long loses its beginning."""
        before, after, room = self._around_text()
        ids = as_ragged(self.tokenizer(texts))
        ids = tf.gather(
            ids.flat_values, tf.ragged.range(tf.maximum(ids.row_limits() - room, ids.row_starts()), ids.row_limits())
        )
        rows = tf.concat([column(before, ids), ids, column(after, ids)], axis=1)
        return {"token_ids": rows, "segment_ids": tf.zeros_like(rows)}

    def _ids(self, pieces):
        """Returns the ids of pieces as a list; their texts are known when a graph is made."""
        with tf.init_scope():
            found = self.tokenized([piece.text for piece in pieces]).to_list()
        return [number for piece, ids in zip(pieces, found, strict=True) for number in (piece.ids or ids)]

    def get_config(self):
        own = ("template", "system", "room", "around", "lead")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@dataclasses.dataclass
class Prompts(Parts):
    """Rows of tokens, of which some are learned; a long text is several rows.

    Attributes:
        targets: `(tokens,)` bool, which tokens are learned.
        cut: int. Texts that lost tokens because they are too long.
    """

    targets: np.ndarray
    cut: int = 0

    def gather_targets(self, rows, width=None):
        """Returns the token after each position, `(len(rows), width)` int32, -1 if it is not learned; and weights."""
        places = np.arange(1, width + 1)
        inside = places < self.lengths[rows][:, None]
        places = np.where(inside, self.offsets[rows][:, None] + places, 0)
        following = np.where(inside & self.targets[places], self.token_ids[places], -1).astype("int32")
        return following, (following >= 0).astype("float32")


def template_of(tokenizer):
    """Returns the name of the template whose special tokens the vocabulary has, or None."""
    known = set(tokenizer.get_vocabulary())
    return next((name for name, template in TEMPLATES.items() if known >= special(template)), None)


def special(template):
    """Returns the names of a template's special tokens."""
    return {part for part in (*template.before, *template.after) if part.startswith("<")}


def tokenize(preprocessor, columns, pieces, is_text=False, room=0):
    """Tokenises rows in parallel.

    Args:
        preprocessor: PromptPreprocessor.
        columns: sequence of columns.
        pieces: function of what a row holds in them that returns its list of Piece.
        is_text: bool. Whether what is too long becomes several rows; else it loses its beginning, and its end if the
            last answer is too long by itself.
        room: int. Tokens of `sequence_length` that stay free.

    Returns: Prompts.
    """
    limit = preprocessor.sequence_length - len(preprocessor.marks["start"]) - room
    parts = functools.partial(_all if is_text else _end, limit)
    made = _kept.tokens(
        preprocessor,
        columns,
        functools.partial(_tokenized, preprocessor, columns, pieces, parts),
        names=(*_kept.NAMES, "targets", "texts", "cut"),
        how=("text" if is_text else "prompt", limit),
    )
    return Prompts(**{**made, "cut": int(made["cut"].sum())}, preprocessor=preprocessor)


def _tokenized(preprocessor, columns, pieces, parts):
    """Iterates over arrays by name, of some rows after the other."""

    def tokenized(rows):
        return rows, preprocessor.tokenized([piece.text for row in rows for piece in row]).to_list()

    parts_of_columns = zip(*(slices(column, PARTS) for column in columns), strict=True)
    rows = ([pieces(*row) for row in zip(*part, strict=True)] for part in parts_of_columns)
    numbers, start = itertools.count(), preprocessor.marks["start"]
    for some, found in in_parallel(tokenized, rows):
        made, found = [], iter(found)
        for row, number in zip(some, numbers, strict=False):
            ids, learned = _joined(row, found)
            kept = parts(learned)
            lost = len(ids) > kept[-1].stop - kept[0].start
            made += [(number, [*start, *ids[k]], [*(False for _ in start), *learned[k]], lost) for k in kept]
        texts, ids, learned, cut = zip(*made, strict=True)
        targets = np.concatenate(learned).astype("bool")
        yield {**flat(ids), "targets": targets, "texts": np.array(texts), "cut": np.array(cut)}


def _joined(row, found):
    """Returns the ids of a row's pieces, and whether each is learned, as two arrays; `found` are those of texts.

    What comes after all that is learned would be computed for nothing and is left out.
    """
    ids = [piece.ids or ids for piece, ids in zip(row, found, strict=False)]
    learned = np.repeat([piece.is_learned for piece in row], [len(part) for part in ids])
    places = np.flatnonzero(learned)
    end = places[-1] + 1 if len(places) else len(learned)
    return np.array([number for part in ids for number in part], "int32")[:end], learned[:end]


def _all(limit, learned):
    """Returns the slices that together hold all tokens of a text; each begins with the last of the one before."""
    return [slice(begin, begin + limit) for begin in range(0, max(len(learned) - 1, 1), limit - 1)]


def _end(limit, learned):
    """Returns the slice of so many tokens that is read: the end, but with the beginning of the last learned part."""
    begins = np.flatnonzero(np.diff(learned.astype("int8"), prepend=0) == 1)
    last = int(begins[-1]) if len(begins) else len(learned)
    begin = min(max(len(learned) - limit, 0), max(last - 1, 0))
    return [slice(begin, begin + limit)]
