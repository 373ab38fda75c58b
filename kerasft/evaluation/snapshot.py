"""What TensorBoard shows of a model's predictions while it learns."""

import importlib
import io
import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from kerasft.evaluation import figures
from kerasft.evaluation._markup import clip
from kerasft.model import by_position
from kerasft.pipeline import batching

EXAMPLES, SHOWN = 500, 8  # that are predicted after each epoch, and of those in the table
ASKED = 4  # prompts that are answered after each epoch
LINE, LINES = 60, 3  # characters of a line and lines of a cell

_MARKDOWN = re.compile(r"[!-/:-@\[-`{-~]")


class Snapshot:
    """Predicts some examples, always the same, and makes pictures and text of how it goes.

    Args:
        task: Task. model: FineTunedModel. preprocessor: the task's layer.
        frame: pandas.DataFrame of prepared validation examples; at most 500 of them are used, drawn at random.

    Call it, without arguments, for a dict of tag to PNG bytes or Markdown: `validation/predictions`, a table; for
    images `validation/images`; and the task's picture, such as `validation/confusion`.
    """

    def __init__(self, task, model, preprocessor, frame):
        self.task = task
        self.model = model
        self.frame = frame.sample(min(len(frame), EXAMPLES), random_state=0)
        self.examples = task.examples(self.frame, preprocessor, with_targets=False)
        self.batches = batching.ordered_batches(self.examples, batching.ROWS)
        self.part, self.computed = None, []

    def __call__(self):
        task, head, outputs = self.task, self.frame.head(SHOWN), self.outputs()
        decoded = task.answers(task.decoded(outputs[:SHOWN], head))
        decoded = {name: values for name, values in decoded.items() if values.ndim == 1}
        shown = {"validation/predictions": table(task.inputs, task.shown(head), decoded)}
        if task.modality == "image":
            shown["validation/images"] = figures.to_png(_pictures(task, head, decoded))
        module = importlib.import_module(f"kerasft.evaluation.{task.evaluation}")
        picture = module.picture(task.targets(self.frame), outputs, **task.evaluation_arguments())
        if picture:
            shown[f"validation/{picture.name}"] = figures.to_png(picture.figure)
        return shown

    def outputs(self):
        """Returns the model's raw outputs row by row, without `predict`, which would trace a graph for each width."""
        made = [by_position(self.model(inputs, training=False)).numpy() for inputs in self._inputs()]
        return self.examples.restored(np.concatenate(made), self.batches)

    def _inputs(self):
        """Returns the model's inputs batch by batch; where a part of it is frozen, what that part made of them."""
        inputs = (inputs for (inputs,) in batching.dataset(self.examples, lambda: self.batches))
        if not self.model.frozen:
            return inputs
        if self.part is not self.model.frozen:
            self.part, self.computed = self.model.frozen, [*map(self.model.above_frozen, inputs)]
        return self.computed


class Samples:
    """Has a model that generates answer some prompts, always the same.

    Args:
        task: Task. model: FineTunedModel. preprocessor: the task's layer.
        frame: pandas.DataFrame of prepared validation examples, of which the first few are asked.

    Call it, without arguments, for `validation/predictions`, a table as Markdown.
    """

    def __init__(self, task, model, preprocessor, frame):
        self.task, self.model, self.preprocessor, self.frame = task, model, preprocessor, frame.head(ASKED)

    def __call__(self):
        found = self.task.answers(self.task.snapshot(self.model, self.preprocessor, self.task.served(self.frame)))
        found = {name: values for name, values in found.items() if values.ndim == 1}
        return {"validation/predictions": table(self.task.sampled, self.task.shown(self.frame), found)}


def table(inputs, frame, decoded):
    """Returns a Markdown table with a row for each example; nothing in an example is taken for Markdown or HTML.

    Args:
        inputs: names of the frame's columns that the model reads; the others are the truth.
        frame: pandas.DataFrame.
        decoded: dict of arrays with one prediction or score a row; those named as a column of the truth are compared.
    """
    truth = [name for name in frame if name not in inputs]
    header = ["", *inputs, *(f"true {name}" for name in truth)]
    header += [f"predicted {name}" if name in truth else name for name in decoded]
    rows = [header, ["---"] * len(header)]
    for position, (number, example) in enumerate(frame.iterrows()):
        found = {name: values[position] for name, values in decoded.items()}
        mark = _mark([(example[name], found[name]) for name in truth if name in found])
        cells = [_preview(example[name], number) for name in inputs]
        rows.append([mark, *cells, *(_word(example[name]) for name in truth), *map(_word, found.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _pictures(task, frame, decoded):
    """Returns the images, two a row as TensorBoard's cards are narrow, with what the model takes each for."""
    figure = Figure(figsize=(4, 8), layout="constrained")
    for position, encoded in enumerate(next(iter(task.request(frame).values()))):
        truth = frame["label"].iloc[position]
        label, score = (decoded[name][position] for name in ("label", "score"))
        axes = figure.add_subplot(SHOWN // 2, 2, position + 1)
        axes.imshow(np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))
        axes.set_axis_off()
        if _same(truth, label):
            axes.set_title(f"{_caption(label)} {_plain(score)}", fontsize=9)
        else:
            title = f"{_caption(label)} {_plain(score)}\ntruth: {_caption(truth)}"
            axes.set_title(title, fontsize=9, color="firebrick")
    return figure


def _caption(value):
    return clip(_plain(value), 24).replace("$", r"\$")


def _mark(pairs):
    """Returns whether a row is right, in a letter; of numbers that cannot be said."""
    if any(isinstance(truth, (float, np.floating)) for truth, _ in pairs):
        return ""
    return "✓" if all(_same(*pair) for pair in pairs) else "✗"


def _same(truth, predicted):
    return set(_plain(truth).split("|")) == set(_plain(predicted).split("|"))


def _preview(value, number):
    return _word(value) if isinstance(value, str) else f"row {number}"


def _word(value):
    """Returns a value as the text of a cell: short, its punctuation as HTML entities.

    Lines are broken here, since TensorBoard would rather break the words of all narrow columns.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in _plain(value))
    lines = textwrap.wrap(text, LINE, max_lines=LINES, placeholder=" …")
    return "<br>".join(_MARKDOWN.sub(lambda match: f"&#{ord(match.group())};", line) for line in lines)


def _plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return "|".join(map(_plain, value))
    if isinstance(value, dict):  # An entity.
        return f"{value['label']}: {value['text']}"
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)
